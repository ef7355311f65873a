// The part of the A2UI page that needs no browser: messages, bindings, bounds. Run: node --test tests/a2ui/
import assert from "node:assert/strict";
import test from "node:test";

for (const part of ["data.js", "inputs.js", "model.js"]) await import(`../../src/web/a2ui/${part}`);
const { Model, LIMITS, segments } = globalThis.clawgateA2UI;

const SURFACE = "main";
const component = (id, type, properties = {}, more = {}) => ({ id, component: { [type]: properties }, ...more });
const define = (...components) => ({ surfaceUpdate: { surfaceId: SURFACE, components } });
const begin = (root = "root", styles = undefined) => ({ beginRendering: { surfaceId: SURFACE, root, styles } });
const update = (contents, path) => ({ dataModelUpdate: { surfaceId: SURFACE, contents, path } });
const text = (id, value) => component(id, "Text", { text: value });
const column = (id, ...ids) => component(id, "Column", { children: { explicitList: ids } });

function model(...messages) {
  const made = new Model();
  made.apply(messages);
  return made;
}
const root = (made) => made.show(SURFACE)?.root ?? null;
const texts = (node) =>
  node === null
    ? []
    : [
        ...(node.text === undefined ? [] : [node.text]),
        ...(node.children ?? []).flatMap(texts),
        ...[node.child, node.entry, node.content].filter(Boolean).flatMap(texts),
      ];
/** What a single text bound to `path` shows over `contents`. */
const bound = (path, contents) => root(model(define(text("root", { path })), update(contents), begin())).text;

test("paths in all their forms", () => {
  for (const [path, expected] of [
    ["/a/b", ["a", "b"]],
    ["a.b", ["a", "b"]],
    ["a[0].b", ["a", "0", "b"]],
    ["/a//b/", ["a", "b"]],
    ["/", []],
    [".", []],
    ["", []],
  ]) {
    assert.deepEqual(segments(path), expected, path);
  }
});

test("values of every kind are shown as text", () => {
  const contents = [
    { key: "s", valueString: "word" },
    { key: "n", valueNumber: 1.5 },
    { key: "b", valueBoolean: false },
    { key: "m", valueMap: [{ key: "inner", valueMap: [{ key: "deep", valueString: "found" }] }] },
    { key: "json", valueString: '{"list":[{"x":"from JSON"}]}' },
    { key: "brace", valueString: "{not json}" },
    { key: "entries", valueString: '[{"key":"a","valueString":"an entry"}]' },
    { key: "records", valueString: '[{"key":"a","title":"a record"}]' },
  ];
  for (const [path, expected] of [
    ["/s", "word"],
    ["/n", "1.5"],
    ["/b", "false"],
    ["/m/inner/deep", "found"],
    ["/json/list/0/x", "from JSON"],
    ["/brace", "{not json}"],
    ["/entries/a", "an entry"],
    ["/records/0/title", "a record"],
    ["/m", ""],
    ["/none", ""],
    ["/s/deeper", ""],
  ]) {
    assert.equal(bound(path, contents), expected, path);
  }
});

test("a part of the data is replaced, not merged, and only that part", () => {
  const made = model(
    define(
      column("root", "a", "b", "c"),
      text("a", { path: "/u/x" }),
      text("b", { path: "/u/y" }),
      text("c", { path: "/v" }),
    ),
    begin(),
  );
  made.apply([
    update([
      {
        key: "u",
        valueMap: [
          { key: "x", valueString: "1" },
          { key: "y", valueString: "2" },
        ],
      },
      { key: "v", valueString: "3" },
    ]),
  ]);
  made.apply([update([{ key: "x", valueString: "new" }], "/u")]);
  assert.deepEqual(texts(root(made)), ["new", "", "3"]);
  made.apply([update([{ key: "v", valueString: "only" }])]);
  assert.deepEqual(texts(root(made)), ["", "", "only"]);
});

test("a literal beside a path is the first value there", () => {
  const guest = text("root", { path: "/name", literalString: "Guest" });
  const later = model(define(guest), update([{ key: "name", valueString: "Ada" }]), begin());
  assert.equal(root(later).text, "Ada");
  const before = model(update([{ key: "name", valueString: "Ada" }]), define(guest), begin());
  assert.equal(root(before).text, "Guest");
  // What agents fill in without meaning it is no value.
  const empty = model(
    update([{ key: "name", valueString: "Ada" }]),
    define(text("root", { path: "/name", literalString: "" })),
    begin(),
  );
  assert.equal(root(empty).text, "Ada");
});

test("templates: ids, data contexts, and paths of the item", () => {
  const made = model(
    define(
      component("root", "List", { children: { template: { componentId: "row", dataBinding: "/rows" } } }),
      column("row", "a", "b", "c"),
      text("a", { path: "name" }),
      text("b", { path: "/item/name" }),
      text("c", { path: "/unit" }),
    ),
    update([
      { key: "rows", valueString: '[{"name":"x"},{"name":"y"}]' },
      { key: "unit", valueString: "kg" },
    ]),
    begin(),
  );
  const { children } = root(made);
  assert.deepEqual(
    children.map((node) => node.id),
    ["row:0", "row:1"],
  );
  assert.deepEqual(
    children.map((node) => node.at),
    [
      ["rows", "0"],
      ["rows", "1"],
    ],
  );
  assert.deepEqual(texts(root(made)), ["x", "x", "kg", "y", "y", "kg"]);
});

test("a template that contains itself follows the data and ends with it", () => {
  const made = model(
    define(
      column("root", "t"),
      component("t", "Column", { children: { template: { componentId: "node", dataBinding: "kids" } } }),
      column("node", "n", "t"),
      text("n", { path: "name" }),
    ),
    update([{ key: "kids", valueString: '[{"name":"a","kids":[{"name":"b","kids":[{"name":"c"}]}]}]' }]),
    begin(),
  );
  assert.deepEqual(texts(root(made)), ["a", "b", "c"]);
});

test("what is entered goes where it is bound, and out with the next action", () => {
  const button = component("b", "Button", {
    child: "t",
    action: {
      name: "save",
      context: [
        { key: "who", value: { path: "/form/name" } },
        { key: "all", value: { path: "/form" } },
        { key: "none", value: { path: "/nowhere" } },
      ],
    },
  });
  const made = model(
    define(
      column("root", "f", "b"),
      text("t", { literalString: "Save" }),
      button,
      component("f", "TextField", { label: { literalString: "Name" }, text: { path: "/form/name" } }),
    ),
    begin(),
  );
  const [field, save] = root(made).children;
  assert.equal(made.set(SURFACE, field.bind, "Ada"), true);
  assert.deepEqual(made.action(SURFACE, save), {
    name: "save",
    surfaceId: SURFACE,
    sourceComponentId: "b",
    context: { who: "Ada", all: { name: "Ada" } },
  });
  assert.equal(made.set(SURFACE, null, "nowhere"), false);
  assert.equal(made.set("gone", ["form"], "x"), false);
});

test("keys that objects have by themselves are keys like any other", () => {
  const made = model(
    define(
      component("root", "Button", {
        child: "t",
        action: { name: "go", context: [{ key: "__proto__", value: { path: "/__proto__" } }] },
      }),
      text("t", { path: "/__proto__/polluted" }),
    ),
    update([{ key: "__proto__", valueMap: [{ key: "polluted", valueString: "yes" }] }]),
    begin(),
  );
  assert.equal(root(made).child.text, "yes");
  assert.equal({}.polluted, undefined);
  const { context } = made.action(SURFACE, root(made));
  assert.deepEqual(Object.keys(context), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(context), Object.prototype);
});

test("a bad message is said and left out; the others count", () => {
  const made = new Model();
  const bad = [
    null,
    1,
    "x",
    [],
    {},
    { other: {} },
    { surfaceUpdate: 1 },
    { surfaceUpdate: {} },
    { surfaceUpdate: { components: [null, {}, { id: "x" }, { id: "y", component: {} }] } },
    { beginRendering: {} },
    { dataModelUpdate: { contents: "x" } },
    { dataModelUpdate: { contents: [{ key: ".", valueString: "x" }] } },
    { deleteSurface: null },
  ];
  const { problems } = made.apply([...bad, define(text("root", { literalString: "A" })), begin()]);
  assert.equal(root(made).text, "A");
  assert.ok(problems.length >= 10, problems.join("; "));
});

test("no properties, whatever they are, stop a component", () => {
  const odd = [
    undefined,
    null,
    0,
    "",
    "x",
    [],
    {},
    { path: 1 },
    { path: "" },
    { path: "/".repeat(5000) },
    { explicitList: 1 },
    { explicitList: [1, null, {}] },
    { template: 1 },
    { template: { componentId: 1 } },
    { literalString: {} },
    { literalArray: [[[]]] },
    NaN,
    true,
  ];
  for (const type of Object.keys(globalThis.clawgateA2UI.SHAPES)) {
    for (const value of odd) {
      const names = [
        "text",
        "url",
        "name",
        "label",
        "value",
        "child",
        "children",
        "tabItems",
        "entryPointChild",
        "contentChild",
        "action",
        "selections",
        "options",
        "minValue",
        "maxValue",
        "maxAllowedSelections",
        "usageHint",
        "validationRegexp",
      ];
      const properties = Object.fromEntries(names.map((name) => [name, value]));
      const made = model(define(component("root", type, properties)), begin());
      assert.equal(root(made).type, type);
      made.action(SURFACE, { ...root(made), action: { name: "x", context: value } });
    }
    assert.equal(root(model(define({ id: "root", component: { [type]: "not properties" } }), begin())).type, type);
  }
});

// ---- bounds ----

test("a component in itself ends, and is said", () => {
  const made = model(
    define(column("root", "a"), column("a", "b"), column("b", "root", "t"), text("t", { literalString: "still here" })),
    begin(),
  );
  assert.deepEqual(texts(root(made)), ["“root” contains itself.", "still here"]);
});

test("a chain deeper than the bound is cut", () => {
  const chain = Array.from({ length: LIMITS.depth * 2 }, (_, i) => column(i === 0 ? "root" : `c${i}`, `c${i + 1}`));
  assert.match(texts(root(model(define(...chain), begin())))[0], /More than 64 components inside one another/);
});

test("doubling at every level is cut at the number of components", () => {
  // 2^40 texts, if nobody counted.
  const levels = Array.from({ length: 40 }, (_, i) => column(i === 0 ? "root" : `c${i}`, `c${i + 1}`, `c${i + 1}`));
  const shown = texts(root(model(define(...levels, text("c40", { literalString: "x" })), begin())));
  assert.ok(shown.length <= LIMITS.nodes + 1);
  assert.equal(shown.filter((each) => each.startsWith("More than")).length, 1);
});

test("templates over templates are cut, at every level", () => {
  const list = JSON.stringify(Array.from({ length: 1500 }, (_, i) => i));
  const made = model(
    define(
      component("root", "Column", { children: { template: { componentId: "row", dataBinding: "/l" } } }),
      component("row", "Row", { children: { template: { componentId: "t", dataBinding: "/l" } } }),
      text("t", { path: "." }),
    ),
    update([{ key: "l", valueString: list }]),
    begin(),
  );
  assert.equal(root(made).children[0].children.length, LIMITS.items);
  assert.ok(texts(root(made)).length <= LIMITS.nodes + 1);
});

test("data that is too deep, too much or out of reach changes nothing", () => {
  const made = model(define(text("root", { path: "/keep" })), update([{ key: "keep", valueString: "kept" }]), begin());
  const many = JSON.stringify(Array.from({ length: LIMITS.values + 10 }, () => 1));
  const { problems } = made.apply([
    update([{ key: "big", valueString: many }], "/x"),
    update([{ key: "y", valueString: "y" }], Array.from({ length: 40 }, () => "d").join("/")),
  ]);
  assert.equal(problems.length, 2);
  assert.equal(root(made).text, "kept");
  const deep = `${"[".repeat(5_000)}${"]".repeat(5_000)}`;
  made.apply([
    update([
      { key: "deep", valueString: deep },
      { key: "keep", valueString: "again" },
    ]),
  ]);
  assert.equal(root(made).text, "again");
  const out = made.action(SURFACE, {
    id: "b",
    at: [],
    action: { name: "go", context: [{ key: "deep", value: { path: "/deep" } }] },
  });
  assert.equal(JSON.stringify(out.context.deep).match(/\[/g).length, LIMITS.dataDepth - 1);
  let nested = [{ key: "end", valueString: "x" }];
  for (let i = 0; i < 2000; i += 1) nested = [{ key: "m", valueMap: nested }];
  made.apply([update(nested, "/n")]);
  assert.equal(root(made).text, "again");
  // A list grows by one, never to an index.
  const listed = model(
    define(text("root", { path: "/l/999999999" })),
    update([{ key: "l", valueString: "[1]" }]),
    begin(),
  );
  assert.equal(listed.apply([update([{ key: ".", valueString: "far" }], "/l/999999999")]).problems.length, 1);
});

test("many updates of one place do not fill the data up", () => {
  const made = model(define(text("root", { path: "/x/0" })), begin());
  const half = JSON.stringify(Array.from({ length: LIMITS.values * 0.7 }, () => 1));
  for (let i = 0; i < 3; i += 1)
    assert.deepEqual(made.apply([update([{ key: ".", valueString: half }], "/x")]).problems, []);
});

test("surfaces, components, messages and problems are bounded", () => {
  const made = new Model();
  made.apply(
    Array.from({ length: LIMITS.surfaces + 5 }, (_, i) => ({ beginRendering: { surfaceId: `s${i}`, root: "r" } })),
  );
  assert.equal(made.ids().length, LIMITS.surfaces);
  const components = Array.from({ length: LIMITS.components + 5 }, (_, i) => text(`t${i}`, { literalString: "x" }));
  assert.equal(new Model().apply([define(...components)]).problems.length, 1);
  assert.equal(
    new Model().apply(Array.from({ length: LIMITS.messages + 1 }, () => null)).problems.length,
    LIMITS.problems,
  );
});

test("many long texts are cut together, and a picture is not", () => {
  const long = "x".repeat(LIMITS.text);
  const made = model(
    define(
      component("root", "Column", { children: { template: { componentId: "t", dataBinding: "/l" } } }),
      text("t", { path: "/long" }),
    ),
    update([
      { key: "long", valueString: long },
      { key: "l", valueString: JSON.stringify(Array.from({ length: 50 }, () => 1)) },
    ]),
    begin(),
  );
  assert.equal(texts(root(made)).join("").length, LIMITS.shown);
  const picture = `data:image/png;base64,${"A".repeat(LIMITS.text * 3)}`;
  const shown = root(
    model(
      define(component("root", "Image", { url: { path: "/p" } })),
      update([{ key: "p", valueString: picture }]),
      begin(),
    ),
  );
  assert.equal(shown.url, picture);
  const { problems } = model().apply(
    Array.from({ length: 30 }, (_, i) => update([{ key: ".", valueString: "x".repeat(LIMITS.string) }], `/p${i}`)),
  );
  assert.ok(problems.length > 0 && problems.length < 30, String(problems.length));
});

test("long texts are cut", () => {
  const long = "x".repeat(LIMITS.text + 10);
  assert.equal(root(model(define(text("root", { literalString: long })), begin())).text.length, LIMITS.text);
});

test("surfaces come in the order in which they were made", () => {
  const made = new Model();
  made.apply([
    { beginRendering: { surfaceId: "a", root: "r" } },
    { surfaceUpdate: { surfaceId: "b", components: [text("r", {})] } },
    { deleteSurface: { surfaceId: "a" } },
    { dataModelUpdate: { surfaceId: "a", contents: [] } },
  ]);
  assert.deepEqual(made.ids(), ["b", "a"]);
  const { changed, removed } = made.apply([{ deleteSurface: { surfaceId: "b" } }]);
  assert.deepEqual([[...changed], [...removed]], [[], ["b"]]);
  made.reset();
  assert.deepEqual(made.ids(), []);
  assert.equal(made.show("a"), null);
});

test("styles are colours and names of fonts, nothing else", () => {
  const styles = (given) => model(define(text("root", {})), begin("root", given)).show(SURFACE).styles;
  assert.deepEqual(styles({ primaryColor: "#00BFFF", font: "Noto Sans" }), {
    primaryColor: "#00bfff",
    font: "Noto Sans",
  });
  for (const bad of [
    { primaryColor: "red" },
    { primaryColor: "#fff;}" },
    { font: 'x";}*{display:none}' },
    { font: "url(x)" },
    { primaryColor: 1, font: {} },
    "x",
    null,
  ])
    assert.deepEqual(styles(bad), {});
});
