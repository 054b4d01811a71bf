# Turns JSON, or the simple forms of YAML, into lines of PATH=VALUE: {"a": ["x"]} becomes /a/0=x. In a value a newline is \n and a
# backslash is \\, which `printf %b` undoes. YAML: maps and lists by indentation, quoted and plain scalars, | and > blocks, [..] and {..};
# no anchors, tags, several documents or plain scalars over several lines.
BEGIN { hex = "0123456789abcdef" }
{ sub(/\r$/, ""); line[++lines] = $0; text = text $0 "\n" }
END {
    if (kind == "json") { rest = text; flow("") }
    else { at = 1; node(0, "") }
}

function emit(path, value,   parts, count, each, out) {
    count = split(value, parts, "\\")
    out = parts[1]
    for (each = 2; each <= count; each++) out = out "\\\\" parts[each]
    count = split(out, parts, "\n")
    out = parts[1]
    for (each = 2; each <= count; each++) out = out "\\n" parts[each]
    print path "=" out
}

# The start of `rest` as a value in JSON or in YAML's flow style; `rest` then begins behind it.
function flow(path,   key, count) {
    sub(/^[ \t\n,]+/, "", rest)
    if (substr(rest, 1, 1) == "{") {
        rest = substr(rest, 2)
        while (1) {
            sub(/^[ \t\n,]+/, "", rest)
            if (rest == "") return
            if (substr(rest, 1, 1) == "}") { rest = substr(rest, 2); return }
            key = scalar()
            sub(/^[ \t\n]*:/, "", rest)
            flow(path "/" key)
        }
    }
    if (substr(rest, 1, 1) == "[") {
        rest = substr(rest, 2)
        count = 0
        while (1) {
            sub(/^[ \t\n,]+/, "", rest)
            if (rest == "") return
            if (substr(rest, 1, 1) == "]") { rest = substr(rest, 2); return }
            flow(path "/" count++)
        }
    }
    emit(path, scalar())
}

function scalar(   value) {
    if (match(rest, /^"([^"\\]|\\.)*"/)) {
        value = unescape(substr(rest, 2, RLENGTH - 2))
        rest = substr(rest, length(value_raw) + 3)
        return value
    }
    if (match(rest, /^'([^']|'')*'/)) {
        value = substr(rest, 2, RLENGTH - 2)
        rest = substr(rest, RLENGTH + 1)
        gsub(/''/, "'", value)
        return value
    }
    if (!match(rest, /^([^],}:\n]|:[^ \n])+/)) { rest = substr(rest, 2); return "" }
    value = substr(rest, 1, RLENGTH)
    rest = substr(rest, RLENGTH + 1)
    sub(/[ \t]+$/, "", value)
    return value
}

function unescape(value,   out, place, letter, code) {
    value_raw = value
    while ((place = index(value, "\\")) > 0) {
        out = out substr(value, 1, place - 1)
        letter = substr(value, place + 1, 1)
        value = substr(value, place + 2)
        if (letter == "n") out = out "\n"
        else if (letter == "t") out = out "\t"
        else if (letter == "r") out = out "\r"
        else if (letter == "u") {
            code = number(value)
            value = substr(value, 5)
            if (code >= 55296 && code < 56320 && substr(value, 1, 2) == "\\u") {
                code = 65536 + (code - 55296) * 1024 + number(substr(value, 3)) - 56320
                value = substr(value, 7)
            }
            out = out utf8(code)
        } else out = out letter
    }
    return out value
}

function number(digits,   each, value) {
    for (each = 1; each <= 4; each++) value = value * 16 + index(hex, tolower(substr(digits, each, 1))) - 1
    return value
}

function utf8(code) {
    if (code < 128) return sprintf("%c", code)
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}

function indent(which) { match(line[which], /^ */); return RLENGTH }

function skip() { while (at <= lines && line[at] ~ /^[ \t]*(#.*)?$|^---/) at++ }

# What begins at line `at` with at least `least` blanks before it: a list or a map.
function node(least, path,   deep) {
    skip()
    if (at > lines || (deep = indent(at)) < least) return
    if (substr(line[at], deep + 1) ~ /^-( |$)/) list(deep, path)
    else map(deep, path)
}

function list(deep, path,   count, item) {
    for (count = 0; ; count++) {
        skip()
        if (at > lines || indent(at) != deep || substr(line[at], deep + 1) !~ /^-( |$)/) return
        item = substr(line[at], deep + 2)
        sub(/^ +/, "", item)
        if (item == "") { at++; node(deep + 1, path "/" count) }
        else if (item ~ /^([A-Za-z_][A-Za-z0-9_.-]*:|-)( |$)/) {
            # "- key: value": the map's own indentation is where its first key stands.
            sub(/-/, " ", line[at])
            node(deep + 1, path "/" count)
        } else { at++; content(item, deep, path "/" count) }
    }
}

function map(deep, path,   key, value) {
    while (1) {
        skip()
        if (at > lines || indent(at) != deep) return
        value = substr(line[at], deep + 1)
        if (!match(value, /^[^ :]+:( |$)/) && !match(value, /^"[^"]*": ?/)) { at++; continue }
        key = substr(value, 1, RLENGTH)
        value = substr(value, RLENGTH + 1)
        sub(/: ?$/, "", key)
        gsub(/^["']|["']$/, "", key)
        sub(/^ +/, "", value)
        at++
        if (value ~ /^(#.*)?$/) below(deep, path "/" key)
        else content(value, deep, path "/" key)
    }
}

# A key without a value on its line: a deeper node, or a list at the key's own depth.
function below(deep, path) {
    skip()
    if (at <= lines && indent(at) == deep && substr(line[at], deep + 1) ~ /^-( |$)/) list(deep, path)
    else if (at <= lines && indent(at) > deep) node(deep + 1, path)
}

function content(value, deep, path,   plain) {
    if (value ~ /^[|>][-+0-9]*[ \t]*(#.*)?$/) { block(value, deep, path); return }
    if (value ~ /^[\[{]/) {
        while (at <= lines && opened(value) > 0) value = value "\n" line[at++]
        rest = value
        flow(path)
    } else if (value ~ /^["']/) {
        rest = value
        plain = scalar()
        emit(path, plain)
    } else {
        sub(/[ \t]+#.*$/, "", value)
        sub(/[ \t]+$/, "", value)
        emit(path, value)
    }
}

function opened(value) { return gsub(/[\[{]/, "&", value) - gsub(/[\]}]/, "&", value) }

function block(style, deep, path,   out, own, blank, each, glue) {
    own = -1
    while (at <= lines && (line[at] ~ /^ *$/ || indent(at) > deep)) {
        if (line[at] ~ /^ *$/) { blank++; at++; continue }
        if (own < 0) own = indent(at)
        for (; blank > 0; blank--) out = out "\n"
        each = substr(line[at++], own + 1)
        out = out each (style ~ /^>/ ? " " : "\n")
    }
    if (style ~ /^>/) sub(/ $/, "\n", out)
    if (style ~ /-/) sub(/\n+$/, "", out)
    emit(path, out)
}
