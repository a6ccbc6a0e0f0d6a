//! Every mistake is told with its line, its key and what was expected.

use super::*;

fn faults(text: &str) -> Vec<String> {
    let errors = Vocabulary::parse("test", "test.toml", text).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "\
descripton = \"x\"
wires = [\"jsn\"]
[in.\"chat:message\"]
command = \"mesage\"
[in.join]
command = \"join\"
args = { romId = \"$0\", since = \"$99\" }
[out.mesage]
[out.typing]
fields = { who = \"usrId\" }
[reply.okay]
[error]
messages = { forbiden = \"no\" }
";
    let found = faults(text);
    for (line, part) in [
        (1, "`descripton`: unknown key; did you mean `description`?"),
        (2, "`wires`: `jsn` is no wire"),
        (4, "`in.\"chat:message\".command`: there is no `mesage` here; did you mean `message`?"),
        (7, "`in.join.args.romId`: unknown key; did you mean `roomId`?"),
        (7, "`in.join.args.since`: `$99` names no argument; write $0 to $15"),
        (8, "`out.mesage`: unknown key; did you mean `message`?"),
        (10, "`out.typing.fields.who`: there is no field `usrId` here; did you mean `userId`?"),
        (11, "`reply.okay`: unknown key"),
        (13, "`error.messages.forbiden`: unknown key; did you mean `forbidden`?"),
    ] {
        let start = format!("test.toml, line {line}: {part}");
        assert!(found.iter().any(|f| f.starts_with(&start)), "{start}\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 9, "{}", found.join("\n"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, part) in [
        ("x = ", "syntax"),
        ("[in]", "no event that clients may send"),
        ("in = 5", "expected a table, found integer"),
        ("[in.a]", "`command` is missing"),
        ("[in.a]\ncommand = 5", "expected a text, found integer"),
        ("[in.a]\ncommand = \"ping\"\naliases = [\"b\"]\n[in.b]\ncommand = \"ping\"", "twice"),
        ("[in.a]\ncommand = \"ping\"\n[events.a]", "is in `in` as well"),
        ("[in.a]\ncommand = \"ping\"\nargs = { x = \"y\" }", "it takes none"),
        ("[in.a]\ncommand = \"join\"\nargs = { roomId = {} }", "neither `from` nor `const`"),
        ("[in.a]\ncommand = \"join\"\nargs = { roomId = { from = \"a\", const = 1 } }", "exclude"),
        ("[in.a]\ncommand = \"join\"\nargs = { roomId = \"a..b\" }", "is no path"),
        ("[in.a]\ncommand = \"join\"\njoin = true", "goes with `command = \"message\"`"),
        (
            "[in.a]\ncommand = \"ping\"\n[out.user_left]\nto = \"everyone\"",
            "there is no `everyone`",
        ),
        ("[in.a]\ncommand = \"ping\"\n[out.typing]\nto = \"author\"", "there is no `author`"),
        ("presence = \"some\"\n[in.a]\ncommand = \"ping\"", "there is no `some`"),
        ("[in.a]\ncommand = \"ping\"\n[connect_error]\nx = \"y\"", "unknown key"),
        (
            "wires = [\"json\"]\n[in.a]\ncommand = \"ping\"\n[connect_error]",
            "does not have socketio",
        ),
        ("[events.a]\necho = false", "needs `volatile = true`"),
        ("[events.a]\nto = \"all\"\nvolatile = false", "what goes to all is volatile"),
        ("[events.a]\nfrom = []", "members, backend or a list of roles"),
        ("[events.a]\nmax_bytes = 0", "a whole number from 1"),
        ("[events.\"*\"]\nout = {}", "are written by [out.event]"),
        ("auto_join = [\"user:x\"]\n[in.a]\ncommand = \"ping\"", "is reserved"),
        ("[in.a]\ncommand = \"ping\"\n[out.typing]\nargs = [\"userId\"]", "socketio"),
        ("[in.a]\ncommand = \"ping\"\n[out.typing]\nfields = { type = \"userId\" }", "JSON wire"),
        ("[in.a]\ncommand = \"ping\"\n[out.typing]\nfields = { a = { const = inf } }", "inf"),
        (
            "[in.a]\ncommand = \"ping\"\n[out.typing]\nfields = { a = { time = \"epoch_ms\" } }",
            "neither",
        ),
        ("wires = \"socketio\"\n[json]\n[in.a]\ncommand = \"ping\"", "does not have json"),
        ("time = \"unix\"\n[in.a]\ncommand = \"ping\"", "there is no `unix` here"),
    ] {
        let found = faults(text).join("\n");
        assert!(found.contains(part), "{text}: {found}");
    }
    let large = format!("# {}", "x".repeat(MAX_TEXT));
    assert!(faults(&large)[0].contains("larger than"));
    let many: String = (0..500).map(|i| format!("key{i} = 1\n")).collect();
    assert!(faults(&many).len() <= 101);
}
