// Short forms for messages.
export const lit = (value) =>
  typeof value === "string"
    ? { literalString: value }
    : typeof value === "number"
      ? { literalNumber: value }
      : { literalBoolean: value };
export const at = (path) => ({ path });
export const c = (id, type, properties = {}, weight) => ({
  id,
  component: { [type]: properties },
  ...(weight === undefined ? {} : { weight }),
});
export const text = (id, value, usageHint) =>
  c(id, "Text", { text: typeof value === "string" ? lit(value) : value, ...(usageHint ? { usageHint } : {}) });
export const kids = (...ids) => ({ explicitList: ids });
export const each = (componentId, dataBinding) => ({ template: { componentId, dataBinding } });
export const column = (id, ...ids) => c(id, "Column", { children: kids(...ids) });
export const button = (id, child, name, context) =>
  c(id, "Button", { child, action: { name, ...(context ? { context } : {}) } });
export const ctx = (pairs) => Object.entries(pairs).map(([key, value]) => ({ key, value }));

export const define = (...components) => ({ surfaceUpdate: { surfaceId: "main", components } });
export const begin = (root = "root", more = {}) => ({ beginRendering: { surfaceId: "main", root, ...more } });
export const remove = (surfaceId = "main") => ({ deleteSurface: { surfaceId } });

/** `{a: 1, b: {c: "x"}}` as the entries of a data model. */
export const entries = (object) =>
  Object.entries(object).map(([key, value]) =>
    typeof value === "object"
      ? { key, valueMap: entries(value) }
      : { key, [{ string: "valueString", number: "valueNumber", boolean: "valueBoolean" }[typeof value]]: value },
  );
export const data = (object, path) => ({
  dataModelUpdate: { surfaceId: "main", contents: entries(object), ...(path ? { path } : {}) },
});

/** The same message for another surface. */
export const on = (surfaceId, message) =>
  Object.fromEntries(Object.entries(message).map(([kind, body]) => [kind, { ...body, surfaceId }]));
export const show = (...messages) => ({ messages });
export const act = (verb, kind, index, value) => ({ do: [verb, kind, index, ...(value === undefined ? [] : [value])] });
