//! QR codes (ISO/IEC 18004) for a terminal: bytes, error correction level L, versions 1 to 20. That is enough for any
//! setup code, and small enough to have no dependency for it.

/// A square of modules; `true` is dark.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    size: usize,
    dark: Vec<bool>,
}

impl std::fmt::Debug for Code {
    // The modules are what was encoded, and that may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Code {
    /// Encodes bytes; `None` when there are too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let version = (1..=VERSION_MAX).find(|version| room(*version) >= bytes.len())?;
        let words = with_correction(version, &data_words(version, bytes));
        let mut canvas = Canvas::new(version);
        canvas.place(&words);
        let masked = (0..8).map(|mask| canvas.masked(mask));
        masked.min_by_key(Code::penalty)
    }

    /// Modules on a side, without the quiet zone.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether a module is dark; everything outside is light.
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        x < self.size && y < self.size && self.dark[y * self.size + x]
    }

    /// Lines of text, two rows of modules in each, with the quiet zone. With `colours` dark is black on white whatever
    /// the terminal's own colours are; without, light modules are drawn, as for a terminal that is dark.
    pub fn lines(&self, colours: bool) -> String {
        let side = self.size + 2 * QUIET;
        let drawn = |x: usize, y: usize| {
            let dark = x >= QUIET && y >= QUIET && self.is_dark(x - QUIET, y - QUIET);
            dark == colours && y < side
        };
        let mut text = String::new();
        for y in (0..side).step_by(2) {
            if colours {
                text.push_str("\u{1b}[30;107m");
            }
            for x in 0..side {
                text.push(match (drawn(x, y), drawn(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            if colours {
                text.push_str("\u{1b}[0m");
            }
            text.push('\n');
        }
        text
    }

    /// How hard it is to read: the four rules of section 7.8.3.
    fn penalty(&self) -> usize {
        let size = self.size;
        let mut sum = 0;
        for line in 0..size {
            sum += line_penalty(&mut (0..size).map(|at| self.is_dark(at, line)));
            sum += line_penalty(&mut (0..size).map(|at| self.is_dark(line, at)));
        }
        for y in 1..size {
            for x in 1..size {
                let dark = self.is_dark(x, y);
                let block = [(x - 1, y), (x, y - 1), (x - 1, y - 1)];
                sum += 3 * usize::from(block.iter().all(|(x, y)| self.is_dark(*x, *y) == dark));
            }
        }
        let dark = self.dark.iter().filter(|dark| **dark).count();
        let percent = dark * 100 / (size * size);
        sum + 10 * (percent.abs_diff(50) / 5)
    }
}

/// Long runs of one kind, and what looks like a finder.
fn line_penalty(line: &mut dyn Iterator<Item = bool>) -> usize {
    let (mut sum, mut run, mut last, mut window) = (0, 0_usize, None, 0_u16);
    for (at, dark) in line.enumerate() {
        run = if last == Some(dark) { run + 1 } else { 1 };
        last = Some(dark);
        sum += match run {
            5 => 3,
            6.. => 1,
            _ => 0,
        };
        window = (window << 1 | u16::from(dark)) & 0x7ff;
        if at >= 10 && (window == 0b101_1101_0000 || window == 0b000_0101_1101) {
            sum += 40;
        }
    }
    sum
}

/// The square while it is made.
struct Canvas {
    version: usize,
    code: Code,
    /// Modules that are no data.
    fixed: Vec<bool>,
}

impl Canvas {
    /// Everything but data and format.
    fn new(version: usize) -> Self {
        let size = 17 + 4 * version;
        let code = Code { size, dark: vec![false; size * size] };
        let mut canvas = Self { version, code, fixed: vec![false; size * size] };
        for at in 0..size {
            canvas.set(at, 6, at % 2 == 0);
            canvas.set(6, at, at % 2 == 0);
        }
        for (x, y) in [(3, 3), (size - 4, 3), (3, size - 4)] {
            canvas.finder(x, y);
        }
        let centres = alignment(version);
        let last = centres.len().saturating_sub(1);
        for (row, y) in centres.iter().enumerate() {
            for (column, x) in centres.iter().enumerate() {
                // Finders stand in three of the corners.
                if ![(0, 0), (0, last), (last, 0)].contains(&(row, column)) {
                    canvas.rings(*x, *y, 2);
                }
            }
        }
        canvas.format(0);
        if version >= 7 {
            let mut rest = version;
            for _ in 0..12 {
                rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
            }
            let bits = version << 12 | rest;
            for bit in 0..18 {
                let (near, far) = (bit / 3, size - 11 + bit % 3);
                canvas.set(near, far, bits >> bit & 1 == 1);
                canvas.set(far, near, bits >> bit & 1 == 1);
            }
        }
        canvas
    }

    fn set(&mut self, x: usize, y: usize, dark: bool) {
        let at = y * self.code.size + x;
        self.code.dark[at] = dark;
        self.fixed[at] = true;
    }

    fn finder(&mut self, x: usize, y: usize) {
        let size = self.code.size;
        for dy in 0..9 {
            for dx in 0..9 {
                let (px, py) = ((x + dx).wrapping_sub(4), (y + dy).wrapping_sub(4));
                if px < size && py < size {
                    let ring = dx.abs_diff(4).max(dy.abs_diff(4));
                    self.set(px, py, ring != 2 && ring != 4);
                }
            }
        }
    }

    fn rings(&mut self, x: usize, y: usize, radius: usize) {
        for dy in 0..=2 * radius {
            for dx in 0..=2 * radius {
                let ring = dx.abs_diff(radius).max(dy.abs_diff(radius));
                self.set(x + dx - radius, y + dy - radius, ring != 1);
            }
        }
    }

    /// Level and mask, twice (section 7.9).
    fn format(&mut self, mask: usize) {
        const LEVEL_L: usize = 1;
        let size = self.code.size;
        let data = LEVEL_L << 3 | mask;
        let mut rest = data;
        for _ in 0..10 {
            rest = (rest << 1) ^ ((rest >> 9) * 0x537);
        }
        let bits = (data << 10 | rest) ^ 0x5412;
        let is_dark = |bit: usize| bits >> bit & 1 == 1;
        for bit in 0..15 {
            let (x, y) = match bit {
                0..=5 => (8, bit),
                6 => (8, 7),
                7 => (8, 8),
                8 => (7, 8),
                _ => (14 - bit, 8),
            };
            self.set(x, y, is_dark(bit));
            let (x, y) = if bit < 8 { (size - 1 - bit, 8) } else { (8, size - 15 + bit) };
            self.set(x, y, is_dark(bit));
        }
        self.set(8, size - 8, true);
    }

    /// The places of data, in order: pairs of columns from the right, up and down.
    fn places(&self) -> Vec<usize> {
        let size = self.code.size;
        let mut places = Vec::with_capacity(size * size);
        let columns = (0..size).rev().filter(|x| *x != 6).collect::<Vec<_>>();
        for (pair, columns) in columns.chunks(2).enumerate() {
            for step in 0..size {
                let y = if pair % 2 == 0 { size - 1 - step } else { step };
                places.extend(columns.iter().map(|x| y * size + x).filter(|at| !self.fixed[*at]));
            }
        }
        places
    }

    fn place(&mut self, words: &[u8]) {
        let bits = words.iter().flat_map(|word| (0..8).rev().map(move |bit| word >> bit & 1 == 1));
        for (at, dark) in self.places().into_iter().zip(bits) {
            self.code.dark[at] = dark;
        }
    }

    fn masked(&self, mask: usize) -> Code {
        let size = self.code.size;
        let mut canvas = Self { version: self.version, code: self.code.clone(), fixed: self.fixed.clone() };
        for at in 0..size * size {
            if !self.fixed[at] {
                canvas.code.dark[at] ^= is_flipped(mask, at % size, at / size);
            }
        }
        canvas.format(mask);
        canvas.code
    }
}

/// The eight masks (section 7.8.2).
fn is_flipped(mask: usize, x: usize, y: usize) -> bool {
    0 == match mask {
        0 => (x + y) % 2,
        1 => y % 2,
        2 => x % 3,
        3 => (x + y) % 3,
        4 => (x / 3 + y / 2) % 2,
        5 => x * y % 2 + x * y % 3,
        6 => (x * y % 2 + x * y % 3) % 2,
        _ => ((x + y) % 2 + x * y % 3) % 2,
    }
}

/// Centres of alignment patterns on one axis.
fn alignment(version: usize) -> Vec<usize> {
    if version == 1 {
        return Vec::new();
    }
    let count = version / 7 + 2;
    let last = 4 * version + 10;
    let step = (last - 6).div_ceil(2 * (count - 1)) * 2;
    let mut centres: Vec<usize> = (0..count - 1).map(|at| last - at * step).collect();
    centres.push(6);
    centres.reverse();
    centres
}

/// Bits for data and correction.
fn raw_bits(version: usize) -> usize {
    let mut bits = (16 * version + 128) * version + 64;
    if version >= 2 {
        let count = version / 7 + 2;
        bits -= (25 * count - 10) * count - 55;
        if version >= 7 {
            bits -= 36;
        }
    }
    bits
}

fn data_words_max(version: usize) -> usize {
    let (correction, blocks) = LEVEL_L_BLOCKS[version - 1];
    raw_bits(version) / 8 - usize::from(correction) * usize::from(blocks)
}

/// Bits of the length.
fn length_bits(version: usize) -> usize {
    if version < 10 { 8 } else { 16 }
}

/// Bytes that fit.
fn room(version: usize) -> usize {
    (data_words_max(version) * 8 - 4 - length_bits(version)) / 8
}

/// Mode, length, bytes, an end and padding.
fn data_words(version: usize, bytes: &[u8]) -> Vec<u8> {
    const BYTES: usize = 0b0100;
    let mut bits: Vec<bool> = Vec::new();
    let mut push =
        |value: usize, count: usize| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    push(BYTES, 4);
    push(bytes.len(), length_bits(version));
    bytes.iter().for_each(|byte| push(usize::from(*byte), 8));
    let max = data_words_max(version);
    push(0, (max * 8 - 4 - length_bits(version) - bytes.len() * 8).min(4));
    bits.resize(bits.len().next_multiple_of(8), false);
    let word = |bits: &[bool]| bits.iter().fold(0, |word, bit| word << 1 | u8::from(*bit));
    let mut words: Vec<u8> = bits.chunks(8).map(word).collect();
    let padding = [0xec, 0x11].into_iter().cycle();
    let missing = max - words.len();
    words.extend(padding.take(missing));
    words
}

/// Blocks, each with its correction, interleaved.
fn with_correction(version: usize, data: &[u8]) -> Vec<u8> {
    let (correction, blocks) = LEVEL_L_BLOCKS[version - 1];
    let (correction, blocks) = (usize::from(correction), usize::from(blocks));
    let words = raw_bits(version) / 8;
    let short = words / blocks - correction;
    let short_blocks = blocks - words % blocks;
    let divisor = divisor(correction);
    let mut rest = data;
    let parts: Vec<(&[u8], Vec<u8>)> = (0..blocks)
        .map(|block| {
            let (part, left) = rest.split_at(short + usize::from(block >= short_blocks));
            rest = left;
            (part, remainder(part, &divisor))
        })
        .collect();
    let mut out = Vec::with_capacity(words);
    for at in 0..=short {
        out.extend(parts.iter().filter_map(|(part, _)| part.get(at)));
    }
    for at in 0..correction {
        out.extend(parts.iter().map(|(_, correction)| correction[at]));
    }
    out
}

/// Product in the field of 256 elements, modulo x^8 + x^4 + x^3 + x^2 + 1.
fn product(a: u8, b: u8) -> u8 {
    let mut out = 0_u8;
    for bit in (0..8).rev() {
        out = (out << 1) ^ (if out & 0x80 == 0 { 0 } else { 0x1d });
        out ^= if b >> bit & 1 == 1 { a } else { 0 };
    }
    out
}

/// (x - 1)(x - 2)(x - 4)..., without its leading one.
fn divisor(degree: usize) -> Vec<u8> {
    let mut out = vec![0; degree];
    out[degree - 1] = 1;
    let mut root = 1;
    for _ in 0..degree {
        for at in 0..degree {
            let next = out.get(at + 1).copied().unwrap_or(0);
            out[at] = product(out[at], root) ^ next;
        }
        root = product(root, 2);
    }
    out
}

fn remainder(data: &[u8], divisor: &[u8]) -> Vec<u8> {
    let mut out = vec![0_u8; divisor.len()];
    for byte in data {
        let factor = byte ^ out.remove(0);
        out.push(0);
        for (word, coefficient) in out.iter_mut().zip(divisor) {
            *word ^= product(*coefficient, factor);
        }
    }
    out
}

/// Correction words of a block, and blocks, by version (section 7.5.1, table 9).
const LEVEL_L_BLOCKS: [(u8, u8); VERSION_MAX] = [
    (7, 1),
    (10, 1),
    (15, 1),
    (20, 1),
    (26, 1),
    (18, 2),
    (20, 2),
    (24, 2),
    (30, 2),
    (18, 4),
    (20, 4),
    (24, 4),
    (26, 4),
    (30, 4),
    (22, 6),
    (24, 6),
    (28, 6),
    (30, 6),
    (28, 7),
    (28, 8),
];
const VERSION_MAX: usize = 20;
/// Light modules around a code.
const QUIET: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Reads a code back: format, mask, order of places, blocks. Errors are not corrected but found.
    fn decode(code: &Code) -> Vec<u8> {
        let version = (code.size() - 17) / 4;
        let format = (0..15).fold(0, |bits, bit| {
            let (x, y) = match bit {
                0..=5 => (8, bit),
                6 => (8, 7),
                7 => (8, 8),
                8 => (7, 8),
                _ => (14 - bit, 8),
            };
            bits | usize::from(code.is_dark(x, y)) << bit
        }) ^ 0x5412;
        let mask = format >> 10 & 7;
        assert_eq!(format >> 13, 1, "level L");
        let canvas = Canvas::new(version);
        let bits: Vec<bool> = canvas
            .places()
            .into_iter()
            .map(|at| code.dark[at] ^ is_flipped(mask, at % code.size, at / code.size))
            .collect();
        let words: Vec<u8> = bits
            .chunks_exact(8)
            .map(|bits| bits.iter().fold(0, |word, bit| word << 1 | u8::from(*bit)))
            .collect();
        let (correction, blocks) = LEVEL_L_BLOCKS[version - 1];
        let (correction, blocks) = (usize::from(correction), usize::from(blocks));
        assert_eq!(words.len(), raw_bits(version) / 8);
        let data = data_words_max(version);
        let mut parts = vec![Vec::new(); blocks];
        let (short, long_from) = (data / blocks, blocks - data % blocks);
        let mut next = words.iter();
        for at in 0..=short {
            for (block, part) in parts.iter_mut().enumerate() {
                if at < short || block >= long_from {
                    part.push(*next.next().unwrap());
                }
            }
        }
        let payload: Vec<u8> = parts.concat();
        for _ in 0..correction {
            parts.iter_mut().for_each(|part| part.push(*next.next().unwrap()));
        }
        for part in &parts {
            // A block with its correction is zero at every root of the divisor.
            let mut root = 1;
            for _ in 0..correction {
                assert_eq!(part.iter().fold(0, |sum, word| product(sum, root) ^ word), 0);
                root = product(root, 2);
            }
        }
        assert_eq!(payload[0] >> 4, 0b0100);
        let nibbles: Vec<u8> = payload.iter().flat_map(|word| [word >> 4, word & 15]).collect();
        let head = length_bits(version) / 4;
        let length = nibbles[1..=head].iter().fold(0, |sum, nibble| sum << 4 | usize::from(*nibble));
        nibbles[1 + head..].chunks(2).take(length).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn what_is_encoded_is_read_back_in_every_version() {
        for version in 1..=VERSION_MAX {
            for length in [room(version), room(version).saturating_sub(1)] {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + version) as u8).collect();
                let code = Code::new(&bytes).unwrap();
                assert_eq!(decode(&code), bytes, "version {version}");
            }
        }
        assert!(Code::new(&vec![0; room(VERSION_MAX) + 1]).is_none());
        assert_eq!(decode(&Code::new(b"").unwrap()), b"");
    }

    #[test]
    fn the_published_capacities_hold() {
        // ISO/IEC 18004, table 7: bytes at level L.
        for (version, bytes) in
            [(1, 17), (2, 32), (5, 106), (7, 154), (9, 230), (10, 271), (15, 520), (20, 858)]
        {
            assert_eq!(room(version), bytes, "version {version}");
        }
        assert_eq!(alignment(7), [6, 22, 38]);
        assert_eq!(alignment(14), [6, 26, 46, 66]);
    }

    #[test]
    fn finders_stand_in_three_corners_and_the_timing_between_them() {
        let code = Code::new(b"clawgate").unwrap();
        let far = code.size() - 1;
        for (x, y) in [(0, 0), (far, 0), (0, far), (3, 3), (far - 3, 3), (3, far - 3)] {
            assert!(code.is_dark(x, y), "{x}, {y}");
        }
        assert!(!code.is_dark(7, 7) && !code.is_dark(1, 1));
        assert!((8..far - 7).all(|at| code.is_dark(at, 6) == (at % 2 == 0)));
        assert!(code.is_dark(8, far - 7));
    }

    #[test]
    fn lines_have_a_quiet_zone() {
        let code = Code::new(b"clawgate").unwrap();
        let side = code.size() + 8;
        let plain = code.lines(false);
        assert_eq!(plain.lines().count(), side.div_ceil(2));
        assert!(plain.lines().all(|line| line.chars().count() == side));
        assert!(plain.lines().take(2).all(|line| line.chars().all(|c| c == '█')), "light is drawn");
        let coloured = code.lines(true);
        assert!(
            coloured.lines().all(|line| line.starts_with("\u{1b}[30;107m") && line.ends_with("\u{1b}[0m"))
        );
    }
}
