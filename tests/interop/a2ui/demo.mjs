// A surface with every component on it: to look at, and to go through by keyboard and screen reader.
import { at, begin, button, c, column, ctx, data, define, each, kids, lit, text } from "./build.mjs";

/** A drawn picture as an address, so that nothing has to be fetched. */
const picture = (width, height, inner) =>
  `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}">${inner}</svg>`)}`;
const hills = picture(
  800,
  300,
  '<rect width="800" height="300" fill="#bfe3e0"/><circle cx="620" cy="90" r="46" fill="#ffd27a"/><path d="M0 220L180 110l150 90 140-120 330 160v60H0z" fill="#5aa39b"/><path d="M0 260l220-70 200 60 180-50 200 70v40H0z" fill="#2f6f69"/>',
);
const face = picture(
  100,
  100,
  '<rect width="100" height="100" fill="#f0c9a8"/><circle cx="50" cy="42" r="20" fill="#7a4b2a"/><path d="M14 100a36 36 0 0 1 72 0z" fill="#0f6b6b"/>',
);

export const demo = [
  define(
    column("root", "trip", "plan", "more"),
    // A trip
    c("trip", "Card", { child: "trip-in" }),
    column("trip-in", "hero", "head", "facts", "line", "guests", "buttons"),
    c("hero", "Image", { url: lit(hills), altText: lit("Hills at a lake"), usageHint: "header" }),
    c("head", "Row", { children: kids("face", "names"), alignment: "center" }),
    c("face", "Image", { url: lit(face), altText: lit("Ada"), usageHint: "avatar", fit: "cover" }),
    column("names", "title", "sub"),
    text("title", at("/trip/title"), "h2"),
    text("sub", "Two nights by the lake, proposed by Ada", "caption"),
    c("facts", "Row", { children: kids("f1", "f2", "f3"), distribution: "spaceBetween", alignment: "center" }),
    ...[
      ["f1", "calendarToday", "12–14 June"],
      ["f2", "locationOn", "Lake Walen"],
      ["f3", "payment", "CHF 240"],
    ].flatMap(([id, icon, words]) => [
      c(id, "Row", { children: kids(`${id}i`, `${id}t`), alignment: "center" }),
      c(`${id}i`, "Icon", { name: lit(icon) }),
      text(`${id}t`, words),
    ]),
    c("line", "Divider"),
    c("guests", "List", { children: each("guest", "/guests") }),
    c("guest", "Row", { children: kids("gi", "gn", "gs"), alignment: "center" }),
    c("gi", "Icon", { name: at("icon") }),
    { ...text("gn", at("name")), weight: 1 },
    text("gs", at("says"), "caption"),
    c("buttons", "Row", { children: kids("yes", "no", "ask") }),
    text("yes-t", "I am in"),
    c("yes", "Button", {
      child: "yes-t",
      primary: true,
      action: { name: "join", context: ctx({ trip: at("/trip/id") }) },
    }),
    text("no-t", "Not this time"),
    button("no", "no-t", "decline"),
    c("ask", "Modal", { entryPointChild: "ask-b", contentChild: "ask-in" }),
    c("ask-t", "Row", { children: kids("ask-i", "ask-w"), alignment: "center" }),
    c("ask-i", "Icon", { name: lit("help") }),
    text("ask-w", "Ask"),
    button("ask-b", "ask-t", "ask-opened"),
    column("ask-in", "ask-h", "ask-f", "ask-s"),
    text("ask-h", "What would you like to know?", "h3"),
    c("ask-f", "TextField", { label: lit("Your question"), text: at("/question"), textFieldType: "longText" }),
    text("ask-st", "Send"),
    c("ask-s", "Button", {
      child: "ask-st",
      primary: true,
      action: { name: "ask", context: ctx({ question: at("/question") }) },
    }),
    // Tabs with the inputs
    c("plan", "Card", { child: "tabs" }),
    c("tabs", "Tabs", {
      tabItems: [
        { title: lit("You"), child: "you" },
        { title: lit("When"), child: "when" },
        { title: lit("Food"), child: "food" },
      ],
    }),
    column("you", "name", "mail", "phone", "agree"),
    c("name", "TextField", { label: lit("Name"), text: at("/me/name") }),
    c("mail", "TextField", { label: lit("E-mail"), text: at("/me/mail"), validationRegexp: "[^@\\s]+@[^@\\s]+" }),
    c("phone", "TextField", { label: lit("Code"), text: at("/me/code"), textFieldType: "obscured" }),
    c("agree", "CheckBox", { label: lit("Remind me the day before"), value: at("/me/remind") }),
    column("when", "day", "time", "nights"),
    c("day", "DateTimeInput", { value: at("/when"), enableDate: true, enableTime: false }),
    c("time", "DateTimeInput", { value: at("/when"), enableDate: false, enableTime: true }),
    c("nights", "Slider", { label: lit("Nights"), value: at("/nights"), minValue: 1, maxValue: 7 }),
    column("food", "eat", "drink"),
    c("eat", "MultipleChoice", {
      selections: at("/eat"),
      maxAllowedSelections: 2,
      options: [
        ["Fish", "f"],
        ["Cheese", "c"],
        ["Vegetables", "v"],
      ].map(([label, value]) => ({ label: lit(label), value })),
    }),
    c("drink", "MultipleChoice", {
      selections: at("/drink"),
      maxAllowedSelections: 1,
      options: [
        ["Tea", "t"],
        ["Coffee", "k"],
      ].map(([label, value]) => ({ label: lit(label), value })),
    }),
    // Sizes of text, and a sound
    c("more", "Card", { child: "more-in" }),
    column("more-in", "m1", "m2", "m3", "song", "broken"),
    text("m1", "Listen on the way", "h4"),
    text("m2", "Everything on this page came from an agent as data: words stay words, <b>even these</b>."),
    text("m3", "h5, the smallest heading", "h5"),
    c("song", "AudioPlayer", { url: lit("https://example.com/song.ogg"), description: lit("Steam on the lake") }),
    c("broken", "Image", { url: lit("javascript:alert(1)"), usageHint: "smallFeature" }),
  ),
  data({
    trip: { id: 7, title: "A weekend at the lake" },
    guests: {
      a: { name: "Ada", icon: "star", says: "planned it" },
      b: { name: "Bo", icon: "check", says: "is coming" },
      c: { name: "Cy", icon: "help", says: "asks about the train" },
    },
    me: { name: "Dee", mail: "dee@example.com", code: "secret", remind: true },
    when: "2026-06-12T09:30",
    nights: 2,
    eat: '["f"]',
    drink: '["t"]',
    question: "",
  }),
  begin(),
];
