//! Every bound of multicast DNS, by name. They hold for each family on each link, unless something else is said.

/// Links that are served; further ones are not looked at.
pub const LINKS_MAX: usize = 16;
/// Addresses of one link that are announced, and as many networks of one link.
pub const ADDRESSES_MAX: usize = 16;
/// Datagrams sent within any second, whatever the network does.
pub const PACKETS_PER_SECOND_MAX: usize = 16;
/// Datagrams sent within any minute, whatever the network does.
pub const PACKETS_PER_MINUTE_MAX: usize = 160;
/// Of those, as many are kept for probes and announcements: answers must not use them up.
pub const PACKETS_OWN: usize = 8;
/// A longer datagram is not read (RFC 6762 section 17 allows no more).
pub const DATAGRAM_BYTES_MAX: usize = 9_000;
/// Datagrams read within any second, on all links together; until the next one the others wait with the system, which drops
/// what it has no room for. One that makes much work counts for several.
pub const DATAGRAMS_PER_SECOND_MAX: usize = 512;
/// Questions in one datagram; with more it is ignored.
pub const QUESTIONS_MAX: usize = 64;
/// Records in one datagram; with more it is ignored.
pub const RECORDS_MAX: usize = 256;
/// Questions whose list of known answers goes on in further datagrams (RFC 6762 section 7.2); one more is answered as if
/// it were whole.
pub const HELD_MAX: usize = 8;
/// Lost ties (RFC 6762 section 8.2) and contested announcements (section 9), until a name counts as taken.
pub const CONTESTS_MAX: u32 = 5;
/// Contests are forgotten when there was none for so long.
pub const CONTEST_MEMORY_MS: u64 = 600_000;
/// Between two looks at the machine's links.
pub const LOOK_MS: u64 = 5_000;
/// A socket that could not be opened is tried again after so long.
pub const RETRY_MS: u64 = 60_000;

/// RFC 6762 section 8.1: probes, the time between them, and the longest wait before the first.
pub const PROBES: u8 = 3;
/// Likewise.
pub const PROBE_INTERVAL_MS: u64 = 250;
/// RFC 6762 section 8.2: how long the loser of a tie waits.
pub const TIE_WAIT_MS: u64 = 1_000;
/// RFC 6762 section 8.3: announcements; the time between them begins with a second and doubles.
pub const ANNOUNCEMENTS: u8 = 3;
/// RFC 6762 section 6: no record is sent to the group more often than this.
pub const RECORD_INTERVAL_MS: u64 = 1_000;
/// RFC 6762 section 6: but so often when it defends a name against a probe.
pub const DEFENCE_INTERVAL_MS: u64 = 250;
/// RFC 6762 section 6: an answer that others may give as well waits between these two.
pub const SHARED_DELAY_MIN_MS: u64 = 20;
/// Likewise.
pub const SHARED_DELAY_MAX_MS: u64 = 120;
/// RFC 6762 section 7.2: how long more known answers are waited for, between these two.
pub const HELD_MIN_MS: u64 = 400;
/// Likewise.
pub const HELD_MAX_MS: u64 = 500;
/// RFC 6762 section 10: how long what names a host is good for, in seconds.
pub const HOST_TTL_S: u32 = 120;
/// RFC 6762 section 10: how long everything else is.
pub const OTHER_TTL_S: u32 = 4_500;
/// RFC 6762 section 6.7: the most that who does not speak multicast DNS is told.
pub const LEGACY_TTL_S: u32 = 10;

/// A label of a name (RFC 1035 section 2.3.4), in bytes.
pub const LABEL_BYTES_MAX: usize = 63;
/// One text of a TXT record (RFC 6763 section 6.1), in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// Questions that one look for others sends on one family and link.
pub const QUERIES_MAX: u32 = 6;
/// How soon what is still missing is asked for, at the earliest.
pub const FOLLOW_UP_MS: u64 = 150;
/// Services of others that are remembered.
pub const BEACONS_MAX: usize = 64;
/// Hosts of others that are remembered.
pub const HOSTS_MAX: usize = 64;
/// Texts of one TXT record that are remembered.
pub const TEXTS_MAX: usize = 32;

/// Servers of ordinary DNS that are asked, one after the other; a resolver's usual number.
pub const LOOKUP_SERVERS_MAX: usize = 3;
/// Attempts at one question of ordinary DNS.
pub const LOOKUP_ATTEMPTS_MAX: u32 = 6;
/// How long an attempt waits while each server was asked once at most; twice as long with every further round.
pub const LOOKUP_WAIT_MS: u64 = 500;
/// Questions to ordinary DNS that are open at once.
pub const LOOKUPS_AT_ONCE: usize = 8;
/// The longest answer of ordinary DNS (RFC 1035 section 4.2.2), in bytes.
pub const LOOKUP_BYTES_MAX: usize = 65_535;
