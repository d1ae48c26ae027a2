// Shows /openapi.json. No library from elsewhere: the server may have no way to the internet.

function add(parent, tag, text = "") {
  const child = document.createElement(tag);
  child.textContent = text;
  parent.append(child);
  return child;
}

function row(table, name, schema, description) {
  const line = add(table, "tr");
  add(line, "td", name);
  add(line, "td", kind(schema));
  add(line, "td", description ?? "");
}

let schemas = {};

function resolve(schema) {
  return schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  const values = schema.enum ?? (schema.const === undefined ? null : [schema.const]);
  const base = values ? values.join(" | ") : schema.type ?? "";
  const range = schema.minimum !== undefined && schema.maximum !== undefined;
  const fallback = schema.default ?? null;
  return (
    base +
    (range ? ` ${schema.minimum} to ${schema.maximum}` : "") +
    (fallback === null ? "" : `, default ${fallback}`)
  );
}

function showRoute(main, method, path, route) {
  const section = add(main, "section");
  const title = add(section, "h2");
  add(title, "b", method.toUpperCase());
  title.append(path);
  add(section, "p", route.description ?? route.summary ?? "");
  const table = add(section, "table");
  for (const one of route.parameters ?? []) row(table, one.name, one.schema, one.description);
  for (const content of Object.values(route.requestBody?.content ?? {})) {
    const schema = resolve(content.schema);
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      const needed = schema.required?.includes(name) ? " *" : "";
      row(table, name + needed, field, field.description);
    }
  }
}

const api = await (await fetch("/openapi.json")).json();
schemas = api.components?.schemas ?? {};
document.getElementById("about").textContent = `${api.info.title} ${api.info.version}`;
const main = document.getElementById("routes");
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, route] of Object.entries(methods)) showRoute(main, method, path, route);
}
const note = add(main, "section");
const title = add(note, "h2");
add(title, "b", "WebSocket");
title.append("/v1/audio/stream");
add(note, "p", "Text in pieces, audio out. Messages are JSON; audio is binary, after its times.");
add(note, "pre", [
  '{"type": "start", "voice": null, "format": "pcm", "speed": 1.0, "seed": null}',
  '{"type": "text", "text": "Hel"}',
  '{"type": "flush"}   {"type": "clear"}   {"type": "end"}',
].join("\n"));
