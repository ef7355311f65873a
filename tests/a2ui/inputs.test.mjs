// What comes in beside bindings: addresses, patterns, dates and colours. Run: node --test tests/a2ui/
import assert from "node:assert/strict";
import test from "node:test";

for (const part of ["data.js", "inputs.js", "icons.js"]) await import(`../../src/web/a2ui/${part}`);
const { address, isTame, fits, dateValue, inkOn, icon, ICONS, LIMITS } = globalThis.clawgateA2UI;

test("addresses that are loaded", () => {
  for (const url of [
    "https://example.com/a.png",
    "http://192.168.1.2/a.png",
    "HTTPS://EXAMPLE.com/",
    "a.png",
    "../a.png",
    "/a.png",
    "//example.com/a.png",
    "?a=b:c",
    "data:image/png;base64,AAAA",
    "DATA:IMAGE/svg+xml,<svg/>",
  ]) {
    assert.equal(address(url, "image"), url, url);
  }
  assert.equal(address("  https://example.com/a.png ", "image"), "https://example.com/a.png");
  assert.equal(address("data:audio/ogg;base64,AA", "audio"), "data:audio/ogg;base64,AA");
});

test("addresses that are not", () => {
  for (const url of [
    "",
    " ",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>",
    "data:,x",
    "data:audio/ogg,x",
    "file:///etc/passwd",
    "blob:https://example.com/1",
    "content://x",
    "intent:x",
    "about:blank",
    "view-source:https://example.com",
    "ftp://example.com/x",
  ]) {
    assert.equal(address(url, "image"), null, url);
  }
});

test("patterns that can be tried are tried, over the whole value", () => {
  for (const [pattern, value, expected] of [
    ["[0-9]{5}", "12345", true],
    ["[0-9]{5}", "x12345", false],
    ["^[^\\s@]+@[^\\s@]+\\.[^\\s@]+$", "ada@example.com", true],
    ["^[^\\s@]+@[^\\s@]+\\.[^\\s@]+$", "ada", false],
    ["^\\+?[0-9]{10,14}$", "+41790000000", true],
    ["(red|green)", "green", true],
    ["\\d{4}-\\d{2}-\\d{2}", "2026-01-01", true],
    ["[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "6f2d6f4e-0c2c-4b43-8a53-0e9f3f7d9a11", true],
    ["([a-z]{2})+", "abab", true],
    ["(", "x", null],
    ["[", "x", null],
    ["a{,5}{2}", "x", null],
    [null, "x", null],
    ["x+", "", null],
    ["x+", "x".repeat(LIMITS.patternValue + 1), null],
  ]) {
    assert.equal(fits(pattern, value), expected, `${pattern} on ${value}`);
  }
});

test("patterns that could run for ever are not tried", () => {
  for (const pattern of [
    "(a+)+$",
    "(a*)*b",
    "(a|aa)+$",
    "([a-z]+)*@",
    "((a+))+",
    "(a+){10}",
    "(?:a+)+",
    "(?<n>a+)\\k<n>",
    "(a)\\1",
    "a*a*a*a*a*a*b",
    "(.*)(.*)(.*)(.*)(.*)x",
    "x".repeat(LIMITS.pattern + 1),
    "((a|b)c)*",
    "(a{1,9})+",
    ")",
  ]) {
    assert.equal(isTame(pattern), false, pattern);
    assert.equal(fits(pattern, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"), null, pattern);
  }
  // What stands in brackets or behind a backslash is no operator.
  for (const pattern of ["[(a+)+]x", "\\(a+\\)", "([*+|]){2}"]) assert.equal(isTame(pattern), true, pattern);
});

test("dates as inputs take them", () => {
  for (const [value, type, expected] of [
    ["2026-03-01", "date", "2026-03-01"],
    ["2026-03-01", "datetime-local", "2026-03-01T00:00"],
    ["2026-03-01T14:05", "time", "14:05"],
    ["2026-03-01T14:05", "datetime-local", "2026-03-01T14:05"],
    ["9:30", "time", "09:30"],
    ["09:30:15", "time", "09:30"],
    ["09:30", "date", ""],
    ["soon", "date", ""],
    ["", "date", ""],
    [" ", "time", ""],
  ]) {
    assert.equal(dateValue(value, type), expected, `${value} as ${type}`);
  }
});

test("ink is the one that can be read", () => {
  for (const [colour, ink] of [
    ["#ffffff", "#000000"],
    ["#000000", "#ffffff"],
    ["#ffd700", "#000000"],
    ["#0f6b6b", "#ffffff"],
    ["#0000ff", "#ffffff"],
  ])
    assert.equal(inkOn(colour), ink, colour);
});

test("every icon of the catalogue is drawn, and any other is a question mark", () => {
  const catalogue =
    "accountCircle add arrowBack arrowForward attachFile calendarToday call camera check close delete download edit event error favorite favoriteOff folder help home info locationOn lock lockOpen mail menu moreVert moreHoriz notificationsOff notifications payment person phone photo print refresh search send settings share shoppingCart star starHalf starOff upload visibility visibilityOff warning";
  for (const name of catalogue.split(" ")) assert.ok(Object.hasOwn(ICONS, name), name);
  for (const [name, drawn] of Object.entries(ICONS)) assert.match(drawn, /^!?M[-\d.a-zA-Z ]+$/, name);
  assert.deepEqual(icon("arrow_back"), icon("arrowBack"));
  assert.equal(icon("arrowBack").label, "arrow back");
  assert.equal(icon("__proto__").d, icon("no such icon").d);
});
