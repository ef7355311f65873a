// Times, sizes and names as a person reads them. Pure: tests/control has the tables.

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
];

/** A span in its two largest units: `3 d 4 h`, `12 min`, `5 s`. */
export function span(ms) {
  if (!Number.isFinite(ms)) return "unknown";
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  for (const [at, [name, size]] of UNITS.entries()) {
    if (seconds < size) continue;
    const rest = UNITS[at + 1];
    const more = rest ? Math.floor((seconds % size) / rest[1]) : 0;
    return more > 0 ? `${Math.floor(seconds / size)} ${name} ${more} ${rest[0]}` : `${Math.floor(seconds / size)} ${name}`;
  }
  return `${seconds} s`;
}

/** How long ago: `just now`, `5 min ago`. */
export function ago(ts, now) {
  if (!Number.isFinite(ts)) return "at an unknown time";
  return now - ts < 5_000 ? "just now" : `${span(now - ts)} ago`;
}

/** Bytes in powers of 1024 with three digits or all whole ones: `6.22 MiB`. */
export function bytes(count) {
  if (!Number.isFinite(count)) return "unknown";
  let value = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") return `${unit === "B" || value >= 1000 ? Math.round(value) : value.toPrecision(3)} ${unit}`;
    value /= 1024;
  }
  return "";
}

/** A wall clock time of this browser's day: `14:03:07`. */
export function clock(ts) {
  const date = new Date(ts);
  if (Number.isNaN(date.getTime())) return "--:--:--";
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** A device id cut to what tells it from others. */
export function shortId(id) {
  return typeof id === "string" && id.length > 12 ? `${id.slice(0, 12)}…` : String(id ?? "");
}

/** Scopes without the word that all of them begin with. */
export function scopeNames(scopes) {
  return (Array.isArray(scopes) ? scopes : []).map((scope) => String(scope).replace(/^operator\./, ""));
}

/** A name for this browser that its person recognises among pending pairings: `Firefox on Android`. */
export function browserName(userAgent) {
  const browsers = [["Edg", "Edge"], ["OPR", "Opera"], ["Firefox", "Firefox"], ["Chrome", "Chrome"], ["Safari", "Safari"]];
  const systems = [["iPhone", "iPhone"], ["iPad", "iPad"], ["Android", "Android"], ["Mac OS X", "macOS"], ["Windows", "Windows"], ["Linux", "Linux"]];
  const first = (table, otherwise) => table.find(([mark]) => userAgent.includes(mark))?.[1] ?? otherwise;
  return `${first(browsers, "Browser")} on ${first(systems, "an unknown system")}`;
}

/** The command that an approval is about, or its title. */
export function approvalTitle(approval) {
  const asked = approval.request ?? {};
  if (approval.approvalKind === "plugin") return String(asked.title ?? approval.id);
  const argv = Array.isArray(asked.commandArgv) ? asked.commandArgv.join(" ") : undefined;
  return String(asked.command ?? asked.systemRunPlan?.commandText ?? argv ?? approval.id);
}

/** One line of the log as it is shown; lines that are not the log's own form are shown as they are. */
export function logLine(raw) {
  try {
    const line = JSON.parse(raw);
    const meta = line._meta ?? {};
    const subsystem = /"subsystem":"([^"]*)"/.exec(String(meta.name ?? ""))?.[1] ?? "";
    const texts = ["0", "1", "2", "3"].filter((key) => key in line && !(key === "0" && subsystem)).map((key) => asText(line[key]));
    return { ts: Date.parse(line.time ?? meta.date), level: String(meta.logLevelName ?? "INFO"), subsystem, text: texts.join(" ") };
  } catch {
    return { ts: Number.NaN, level: "", subsystem: "", text: raw };
  }
}

function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
