// Makes engineio.json and socketio.json: what the reference parsers read and
// write for the inputs below.
//
//     mkdir /tmp/reference && cd /tmp/reference
//     npm install socket.io-parser@4.2.7 engine.io-parser@5.2.3
//     node PATH/TO/protocol/tests/vectors/make.mjs /tmp/reference
//
// Each vector is an input of ours and the answer of the reference: the packets
// read, and "error": true if it refused then. The few inputs that the reference
// accepts and hubbub refuses on purpose carry `stricter`, the reason, instead.
import assert from "node:assert";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const root = resolve(process.argv[2] ?? ".");
const require = createRequire(root + "/");
const engine = require("engine.io-parser");
const socket = require("socket.io-parser");
const version = (name) => JSON.parse(readFileSync(`${root}/node_modules/${name}/package.json`, "utf8")).version;

const SEP = "\x1e";
const hex = (data) => ({ hex: Buffer.from(data).toString("hex") });
const out = (file, packages, vectors) => {
  const versions = Object.fromEntries(packages.map((name) => [name, version(name)]));
  const lines = Object.entries(vectors).map(
    ([name, list]) => `  ${JSON.stringify(name)}: [\n${list.map((v) => "    " + JSON.stringify(v)).join(",\n")}\n  ]`,
  );
  const text = `{\n  "made_by": "make.mjs",\n  "reference": ${JSON.stringify(versions)},\n${lines.join(",\n")}\n}\n`;
  writeFileSync(new URL(file, import.meta.url), text);
};

// ---- Engine.IO ----

const shape = ({ type, data }) =>
  Buffer.isBuffer(data) ? { type, ...hex(data) } : data === undefined ? { type } : { type, data };

const payloads = [
  ["4hello"], ["4"], ["2"], ["2probe"], ["3probe"], ["3"], ["5"], ["6"], ["1"],
  ["0{\"sid\":\"x\"}"], ["4€ 💬 \\u0000"], ["4 leading space"], ["4\n"], ["4a,b:c"],
  ["bAQIDBA=="], ["bAQIDBA"], ["b"], ["b/+8="], ["4b"], ["44"],
  [`4a${SEP}4b${SEP}4c`], [`4a${SEP}bAQ==${SEP}2`], [`2${SEP}3${SEP}6${SEP}1`],
  [""], ["7"], ["x"], ["-1"], ["é"], [`4a${SEP}`], [`${SEP}4a`], [`4a${SEP}${SEP}4b`], [`4a${SEP}9${SEP}4b`],
  ["b!!", "what is not base64 is refused, not dropped in silence"],
  ["bAQ ID", "white space inside base64 is refused"],
  ["b_-8=", "the alphabet for URLs is refused"],
].map(([payload, stricter]) => {
  const packets = engine.decodePayload(payload).map(shape);
  if (stricter) {
    assert(packets.every(({ type }) => type !== "error"), payload);
    return { payload, stricter };
  }
  return { payload, packets };
});

const written = [];
for (const list of [
  [{ type: "open", data: "{}" }],
  [{ type: "close" }],
  [{ type: "ping" }, { type: "pong", data: "probe" }],
  [{ type: "message", data: "héllo 💬" }, { type: "noop" }, { type: "upgrade" }],
  [{ type: "message", data: Buffer.from([]) }],
  [{ type: "message", data: Buffer.from([0, 255, 16, 62]) }, { type: "message", data: "x" }],
]) {
  engine.encodePayload(list, (payload) => written.push({ packets: list.map(shape), payload }));
}
out("engineio.json", ["engine.io-parser"], { decode: payloads, encode: written });

// ---- Socket.IO ----

// Buffers become {"$hex": ...}; what is undefined is left out.
const plain = (value) => {
  if (Buffer.isBuffer(value)) return { $hex: value.toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  }
  return value;
};

const bytes = (...list) => Buffer.from(list);
const read = (messages) => {
  const decoder = new socket.Decoder();
  const packets = [];
  decoder.on("decoded", ({ type, nsp, id, data }) => packets.push({ type, nsp, id, data: plain(data) }));
  try {
    for (const message of messages) decoder.add(message);
  } catch {
    return { packets, error: true };
  }
  return { packets };
};

const inputs = [
  // CONNECT, DISCONNECT, CONNECT_ERROR
  ["0"], ["0{}"], ["0/admin"], ["0/admin,"], ['0/admin,{"token":"x","n":[1]}'], ["0/a?x=1&y=/b,{}"], ["0/,{}"],
  ["0[]"], ['0"x"'], ["0null"], ["01"], ["0{"], ["0{}x"], ["0/a{}"], ["0/a,b,{}"],
  ["1"], ["1/admin,"], ["1/admin"], ["1{}"], ["1/a,1"], ["1x"],
  ['4{"message":"no"}'], ['4/a,{"message":"no","data":{"c":1}}'], ['4"no"'], ["4[]"], ["4null"],
  // EVENT
  ['2["hi"]'], ['2["hi",1,-2.5,1e3,true,null,"x",[],{}]'], ['2/chat,["hi"]'], ['2/chat,12["hi"]'], ['20["hi"]'],
  ['2["é 💬",{"k":"\\u00e9\\n\\"\\\\"}]'], ['2[ "spaced" , 1 ]'], ['2["hi"] '], ["2[1,2]"], ["2[-1]"], ["2[0.5]"], ['2[""]'],
  ['2["a\\u0062c"]'], ['2["x",{"_placeholder":true,"num":5}]'], ['2["x",{"a":1,"a":2}]'], ['2007["x"]'],
  ['29007199254740991["x"]'], ['2["' + "[".repeat(200) + '"]'],
  ['2{"0":"x"}'], ["2[]"], ["2[null]"], ["2[true]"], ["2[{}]"], ['2[["x"]]'], ['2["x"'], ['2["x",]'], ["2['x']"], ['2"x"'],
  ['2abc["x"]'], ['2-1["x"]'], ['2["x"]["y"]'], ['2["x",NaN]'], ['2["x",01]'], ['2["x","\t"]'], ['2["x",+1]'],
  ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((n) => [`2["${n}",1]`]),
  ['2["c\\u006fnnect"]'], ['2["Connect"]'], ['2["connect "]'], ['2["error"]'], ['2["message",1]'],
  // ACK
  ["30[]"], ["37[1,{}]"], ["3/a,7[null]"], ["37"], ["3[1]"], ["37{}"], ["37x"],
  // what is no packet
  ["7"], ["9[]"], ["a"], ["-"], ["é"], ["[]"],
  // attachments
  ['51-["x",{"_placeholder":true,"num":0}]', bytes(1, 2, 3)],
  ['52-/a,3["x",{"_placeholder":true,"num":1},[{"y":{"_placeholder":true,"num":0}}]]', bytes(1), bytes()],
  ['61-7[{"_placeholder":true,"num":0}]', bytes(255)],
  ['61-/a,7[{"num":0,"_placeholder":true,"more":1}]', bytes(9)],
  ['51-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', bytes(1)],
  ['51-["x"]', bytes(1)], ['51-["x",{"_placeholder":false,"num":0}]', bytes(1)],
  ['51-["x",{"_placeholder":"true","num":9}]', bytes(1)], ['51-["x",{"\\u005fplaceholder":true,"num":0}]', bytes(1)],
  ['51-["x",{"_placeholder":true,"num":0.0}]', bytes(1)], ['51-["x",{"_placeholder":true,"num":3,"num":0}]', bytes(1)],
  ['51-["x",{"_placeholder":true,"num":0,"_placeholder":0}]', bytes(1)],
  ['510-["x"]', ...Array.from({ length: 10 }, (_, n) => bytes(n))],
  ['51-["x",{"_placeholder":true,"num":0}]', bytes(1), '2["next"]'],
  ['2["a"]', '2["b"]', "1"],
  ['511-["x"]'], ['599-["x"]'], ['5["x"]'], ['5-["x"]'], ['50-["x"]'], ['5-1-["x"]'], ['51.5-["x"]'], ['51["x"]'], ["5"], ['5a-["x"]'],
  ['51-{"a":1}'], ['51-["connect"]'], ['51-["x"'], ['61-7{}'],
  ['51-["x",{"_placeholder":true,"num":1}]', bytes(1)], ['51-["x",{"_placeholder":true,"num":-1}]', bytes(1)],
  ['51-["x",{"_placeholder":true,"num":"0"}]', bytes(1)], ['51-["x",{"_placeholder":true}]', bytes(1)],
  ['51-["x"]', '2["y"]'], ['51-["x"]', "1"], [bytes(1)], ['2["x"]', bytes(1)], ['51-["x"]', bytes(1), bytes(2)],
].map((messages) => ({ messages }));

const stricter = [
  [[""], "nothing is no CONNECT (the reference server never gets here with it)"],
  [[" {}"], "white space is no packet type"],
  [["2"], "an event without data has no name"],
  [["4"], "a refusal without data says nothing"],
  [['2 ["x"]'], "white space is no ack id"],
  [['2184467440737095516160["x"]'], "an ack id that a double rounds cannot be answered"],
  [['2["x",' + "[".repeat(100) + "]".repeat(100) + "]"], "nesting is bounded"],
  [['2["x"' + ",1".repeat(300) + "]"], "an event's arguments are bounded"],
  [["0/" + "n".repeat(300)], "namespaces are bounded"],
  [['51.0-["x"]', bytes(1)], "a count is digits only"],
  [['51-["x",{"_placeholder":true,"num":0.5}]', bytes(1)], "an index is an integer"],
  [['2["\\ud800"]'], "half a surrogate pair is no UTF-8"],
].map(([messages, reason]) => ({ messages, stricter: reason }));

const decode = [...inputs, ...stricter].map(({ messages, ...more }) => {
  const answer = read(messages);
  if (more.stricter) assert(!answer.error, more.stricter);
  const shown = messages.map((m) => (typeof m === "string" ? m : hex(m)));
  return { messages: shown, ...(more.stricter ? more : answer) };
});

const encoder = new socket.Encoder();
const encode = [
  { type: 0, nsp: "/" },
  { type: 0, nsp: "/admin", data: { token: "x" } },
  { type: 1, nsp: "/" },
  { type: 1, nsp: "/admin" },
  { type: 2, nsp: "/", data: ["hi"] },
  { type: 2, nsp: "/chat", id: 12, data: ["é \"x\" \\ \n", 1, [true, null], { a: "b" }] },
  { type: 2, nsp: "/", data: [7, "numeric"] },
  { type: 2, nsp: "/", id: 0, data: ["x", Buffer.from([1]), { y: [Buffer.from([2, 3])] }] },
  { type: 3, nsp: "/", id: 0, data: [] },
  { type: 3, nsp: "/a", id: 7, data: [{ ok: true }] },
  { type: 3, nsp: "/", id: 7, data: [Buffer.from([])] },
  { type: 4, nsp: "/", data: { message: "no" } },
  { type: 4, nsp: "/a", data: { message: "no", data: { code: 1 } } },
].map((packet) => ({
  packet: plain(packet),
  messages: encoder.encode(structuredCloneWithBuffers(packet)).map((m) => (typeof m === "string" ? m : hex(m))),
}));

// The encoder replaces buffers in place.
function structuredCloneWithBuffers(value) {
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(structuredCloneWithBuffers);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, structuredCloneWithBuffers(v)]));
  }
  return value;
}
out("socketio.json", ["socket.io-parser"], { decode, encode });
