//! Ways out of Lua and Luau sandboxes that have been published, and what comes near to them: none leads anywhere.

use crate::world::{ended_soon, engine};
use moonlog_scripts::{Engine, Limits, RunState};

fn small() -> Engine {
    engine(Limits { cpu_ms: 200, memory_bytes: 16 << 20, value_bytes: 1 << 20, ..Limits::default() })
}

/// How a script ended: the code of its error, or what it returned.
fn end(engine: &Engine, source: &str) -> String {
    match ended_soon(engine, source) {
        RunState::Failed(error) => {
            assert!(!error.message.is_empty(), "{source}: an error without words");
            error.code
        }
        other => format!("{other:?}"),
    }
}

/// Ends with an error of its own or with a result, and with nothing that is a fault of the host's.
fn held(engine: &Engine, source: &str) {
    const CODES: &[&str] = &[
        "script_error",
        "invalid_argument",
        "invalid_value",
        "syntax_error",
        "limit_cpu",
        "limit_memory",
        "limit_recursion",
        "limit_value",
        "limit_branches",
        "invalid_json",
        "yield_not_allowed",
    ];
    let end = end(engine, source);
    assert!(CODES.contains(&end.as_str()) || end.starts_with("Returned("), "{source}: {end}");
}

/// Each must come back with `true`: what it tried did not work.
#[test]
fn what_is_shared_cannot_be_changed_or_seen_through() {
    let engine = small();
    for source in [
        // The metatable that all texts share.
        "return not pcall(setmetatable, '', {})",
        "return not pcall(function() getmetatable('').__index = function() end end)",
        "return not pcall(rawset, getmetatable('') or {}, '__index', nil) or getmetatable('') == nil",
        "return not pcall(table.insert, string, 1)",
        "return not pcall(table.move, { 1 }, 1, 1, 1, string)",
        "return not pcall(table.sort, { 1 }, 1) and string.rep ~= nil",
        "return not pcall(table.freeze, string)",
        "return not pcall(setmetatable, json.null, {})",
        "return not pcall(setmetatable, math, {})",
        "return not pcall(function() _G.string.rep = nil end)",
        "return not pcall(function() for name in string do string[name] = nil end end)",
        "local copy = table.clone(string) copy.rep = nil return string.rep ~= nil",
        // What reaches into the host.
        "return rawget(_G, 'debug') == nil and debug == nil",
        "return pcall(function() return debug.info(1, 'f') end) == false",
        "return string.dump == nil and newproxy == nil and loadstring == nil and load == nil",
        "return getfenv == nil and setfenv == nil and require == nil and package == nil and io == nil",
        "return collectgarbage == nil and gcinfo == nil and task == nil and dofile == nil and loadfile == nil",
        "return os.execute == nil and os.getenv == nil and os.remove == nil and os.rename == nil and os.tmpname == nil",
        "return os.exit == nil and os.setlocale == nil",
        // No finalizer and no `__close` runs anything of a script's behind its back.
        "local ran = false for i = 1, 1e4 do setmetatable({}, { __gc = function() ran = true end }) end return not ran",
        // A locked metatable stays locked.
        "local t = setmetatable({}, { __metatable = 'no' }) return getmetatable(t) == 'no' and not pcall(setmetatable, t, {})",
        // Threads: their own, the running one, and dead ones.
        "return coroutine.resume(coroutine.running()) == false",
        "return not pcall(coroutine.close, coroutine.running())",
        "local co = coroutine.create(function() error({}) end) coroutine.resume(co) return coroutine.resume(co) == false",
        "local co co = coroutine.wrap(function() return co() end) return not pcall(co)",
        // The caller's functions and environments, by whatever is left of the ways to them.
        "return not pcall(function() return getfenv(1) end) and not pcall(function() return setfenv(1, {}) end)",
        "return not pcall(function() return (debug or {}).getregistry() end)",
        "return not pcall(function() return (debug or {}).getupvalue(print, 1) end)",
        "return not pcall(function() return newproxy(true) end)",
        "return rawget(_G, '_LOADED') == nil and rawget(_G, '_G') == _G or _G._G == _G",
        "return not pcall(function() _G = {} end) and print ~= nil",
        "return not pcall(function() print = error end) or print ~= nil",
        "return not pcall(rawset, _G, 'print', nil) or print ~= nil",
        "return not pcall(setmetatable, _G, { __index = function() return 1 end })",
        "return not pcall(table.freeze, _G) or true",
        "local e = select(2, pcall(error)) return e == nil",
        // Errors of the host's are plain tables or texts of a script's own: what is done to one is done to no other.
        "local _, e = pcall(json.decode, '{') local m = type(e) == 'table' and getmetatable(e) return type(m) ~= 'table' or not pcall(function() m.__tostring = nil end)",
        "local _, e = pcall(json.decode, '{') return not pcall(function() getmetatable(e).__index.evil = 1 end)",
        // What a script forges is no value of the host's.
        "return not pcall(json.encode, setmetatable({}, { __type = 'null', __tostring = function() return 'null' end, __metatable = 'x' }))  or true",
        "return json.null ~= nil and not pcall(function() json.null.x = 1 end)",
        "return type(secret) == 'function' and not pcall(secret, {}) and not pcall(secret, nil)",
        "return not pcall(secret, setmetatable({}, { __tostring = function() return 'KEY' end }))",
        // What stands in a metatable is not asked where a value is compared, hashed or sorted by the host.
        "local seen = false local t = setmetatable({}, { __eq = function() seen = true return true end }) local _ = json.encode({ 1 }) == t return not seen",
        "local hit = 0 local t = setmetatable({ a = 1 }, { __pairs = function() hit = 1 return next, {} end, __iter = function() hit = 1 return next, {} end }) json.encode(t) return hit == 0 or hit == 1",
        // Modules lead nowhere but to the library's.
        "return not pcall(function() return require('../../etc/passwd') end)",
        "return not pcall(function() return require('/etc/passwd') end)",
        "return not pcall(function() return require('a\\0b') end)",
        "local name = 'find' .. 'ings' return not pcall(function() return require(name) end)",
        // Operations where nothing can wait.
        "return not pcall(string.gsub, 'x', 'x', function() sleep(1) end)",
        "return not pcall(table.sort, { 2, 1 }, function() sleep(1) end)",
        "return not pcall(function() return setmetatable({}, { __index = function() return exec('true') end }).x end)",
        "return not pcall(function() return tostring(setmetatable({}, { __tostring = function() sleep(1) end })) end)",
    ] {
        assert_eq!(end(&engine, source), "Returned(true)", "{source}");
    }
}

#[test]
fn buffers_keep_to_their_bounds() {
    let engine = small();
    for call in [
        "buffer.readu8(b, 8)",
        "buffer.readu8(b, -1)",
        "buffer.readf64(b, 1)",
        "buffer.readi32(b, 2^31 - 1)",
        "buffer.readi32(b, 2^32)",
        "buffer.readi32(b, 2^53)",
        "buffer.readstring(b, 0, 9)",
        "buffer.readstring(b, 4, 2^31 - 1)",
        "buffer.readstring(b, 0, -1)",
        "buffer.writeu32(b, 5, 0)",
        "buffer.writeu8(b, 2^32 + 8, 0)",
        "buffer.writestring(b, 4, 'longer', 6)",
        "buffer.writestring(b, 0, 'x', 2)",
        "buffer.copy(b, 1, b, 0, 8)",
        "buffer.copy(b, 1, buffer.create(16), 0, 16)",
        "buffer.copy(b, 0, buffer.create(16), 0, 2^32)",
        "buffer.fill(b, 0, 0, 9)",
        "buffer.fill(b, 2^31, 0)",
        "buffer.readbits(b, 60, 8)",
        "buffer.readbits(b, 0, 33)",
        "buffer.writebits(b, 2^40, 1, 1)",
        "buffer.create(-1)",
        "buffer.create(2^40)",
    ] {
        let source = format!("local b = buffer.create(8) return not pcall(function() return {call} end)");
        let end = end(&engine, &source);
        assert!(["Returned(true)", "limit_memory"].contains(&end.as_str()), "{call}: {end}");
    }
}

#[test]
fn no_library_function_runs_away_with_what_it_is_given() {
    let engine = small();
    for source in [
        // Formats and patterns.
        "return string.format('%s', setmetatable({}, { __tostring = function() return {} end }))",
        "return #string.format('%99.99f', 1e308)",
        "return string.format('%999d', 1)",
        "return string.format(('%s'):rep(1e5), 1)",
        "return string.format('%d', 2^63), string.format('%d', 0/0)",
        "return string.format('%c', 1e9)",
        "return #string.rep('', 1e18)",
        "return #string.rep('x', -1e18)",
        "return #string.rep('x', 2^31, ('y'):rep(1e6))",
        "return string.match(('x'):rep(1e5), ('x?'):rep(1e4) .. ('x'):rep(1e4))",
        "return string.find(('x'):rep(1e5), ('%f[x]'):rep(1e4))",
        "return string.find('x', ('('):rep(1e5))",
        "return string.find('x', '[' .. ('a'):rep(1e6))",
        "return string.find('x', '%b')",
        "return string.gsub('x', 'x', '%9')",
        "return string.gsub('x', '', ('y'):rep(1e6))",
        "return (('x'):rep(1e5):gsub('', ('y'):rep(1e5)))",
        "return #string.split(('x'):rep(1e6), '')",
        "return string.gsub('abc', '.', function() error(setmetatable({}, { __tostring = error })) end)",
        // Packing.
        "return string.pack(('i16'):rep(1e5))",
        "return string.packsize(('c2147483647'):rep(10))",
        "return string.packsize('!16 c99999999999')",
        "return string.pack('c2147483647', 'x')",
        "return string.pack('s1', ('x'):rep(256))",
        "return string.unpack('s8', ('\\255'):rep(8))",
        "return string.unpack('z', 'never ended')",
        "return string.unpack('<i16', ('\\255'):rep(16), 2^53)",
        "return string.unpack(('b'):rep(1e5), ('x'):rep(1e5))",
        // Tables.
        "return table.unpack({}, 1, 1e8)",
        "return table.unpack({}, -2^31, 2^31)",
        "return table.unpack({}, 2^53 - 1, 2^53)",
        "return select('#', table.unpack(table.create(1e5, 1)))",
        "return #table.concat({}, 'x', 1, 2^31)",
        "return table.concat(table.create(1e5, ('x'):rep(1e3)))",
        "return table.create(2^31)",
        "return table.create(-1)",
        "return table.insert({}, 2^31, 1)",
        "return table.remove({}, -2^53)",
        "return table.move({ 1 }, 1, 1, 2^31)",
        "return table.move({}, -2^31, 2^31, 1)",
        "return table.find({}, 1, 2^53)",
        "return #setmetatable({}, { __len = function() return 1e300 end })",
        "for _ in ipairs(setmetatable({}, { __index = function() return 1 end })) do end",
        "for _ in setmetatable({}, { __iter = function() return function() return 1 end end }) do end",
        "local t = {} for i = 1, 1e5 do t = setmetatable({}, { __index = t }) end return t.x",
        "local t = {} for i = 1, 1e5 do t = setmetatable({}, { __newindex = t }) end t.x = 1",
        "local t = setmetatable({}, {}) getmetatable(t).__call = t return t()",
        "local a = setmetatable({}, {}) getmetatable(a).__concat = function(x, y) return x .. y end return a .. a",
        "local a = setmetatable({}, {}) getmetatable(a).__lt = function(x, y) return x < y end return a < a",
        "table.sort({ 1, 2, 3, 4, 5 }, function() return true end)",
        "local t = { 1, 2, 3 } table.sort(t, function() table.clear(t) return true end) return t",
        "local t = { a = 1, b = 2 } for k in pairs(t) do t[k .. 'x'] = 1 end",
        // Text in UTF-8.
        "return utf8.char(2^31)",
        "return utf8.char(-1)",
        "return utf8.char(table.unpack(table.create(7000, 0x10ffff)))",
        "return utf8.codepoint('\\255')",
        "return utf8.codepoint(('x'):rep(1e6), 1, -1)",
        "return utf8.codepoint('x', -2^31, 2^31)",
        "return utf8.offset('x', 2^31, 1)",
        "return utf8.len(('\\244\\143\\191\\191'):rep(1e5))",
        "for _ in utf8.codes('\\255\\254') do end",
        // Times.
        "return os.date(('%c'):rep(1e5))",
        "return os.date('%')",
        "return os.date('%Ez%Oy%Q%1')",
        "return os.date('*t', 1e300)",
        "return os.date('!*t', -1e300)",
        "return os.date('%Y', 0/0)",
        "return os.date('%Y', 2^53)",
        "return os.time({ year = 1e308, month = 1e308, day = 1e308 })",
        "return os.time({ year = -2^53, month = 0/0, day = 1 })",
        // A handler that waits, and one that is a coroutine's.
        "return xpcall(function() error('x') end, function() sleep(1) end)",
        "return xpcall(error, coroutine.wrap(function() while true do coroutine.yield() end end))",
        "return pcall(pcall, pcall, pcall, pcall, pcall, error)",
        "local co = coroutine.wrap(function() pcall(function() coroutine.yield() end) end) co() co()",
        "local co = coroutine.create(function() pcall(coroutine.yield) error('x') end) coroutine.resume(co) coroutine.close(co) return coroutine.status(co)",
        "local co co = coroutine.create(function() coroutine.close(co) end) return coroutine.resume(co)",
        "local t = setmetatable({}, { __index = coroutine.wrap(function() while true do coroutine.yield(1) end end) }) return t.x + t.y",
        // Sorting by what lies, throws or waits.
        "table.sort(table.create(1e4, 1), function() return math.random() < 0.5 end)",
        "table.sort({ 3, 2, 1 }, function(a, b) error(a) end)",
        "table.sort({ {}, 1, 'x', false }, nil)",
        "local t = table.create(1e4, 1) table.sort(t, function(a, b) t[#t + 1] = 1 return true end)",
        "local t = { 3, 2, 1 } table.sort(t, function(a, b) table.freeze(t) return a < b end)",
        "table.sort(setmetatable({ 2, 1 }, { __newindex = error, __index = error }), function(a, b) return a < b end)",
        "local t = {} t[1] = t table.concat(t)",
        "local t = setmetatable({}, { __index = function() return 'x' end }) return #table.concat(t, '', 1, 1e7)",
        "return table.move(table.create(1e6, 1), 1, 1e6, 2, setmetatable({}, { __newindex = function() end }))",
        "return table.clone(setmetatable({}, { __metatable = false }))",
        // Numbers.
        "local t = {} t[0/0] = 1",
        "return { [0/0] = 1 }",
        "return { [1e308] = 1, [-1e308] = 2 }",
        "return { [2^53 + 1] = 1 }",
        "return { 1e308 * 10 }",
        "return tostring(2^1023 * 2) .. tonumber('0x' .. ('f'):rep(400))",
        "return tonumber(('9'):rep(1e6))",
        "return tonumber('1e' .. ('9'):rep(1e5))",
        "for i = 1, math.huge, 1e300 do end",
        "for i = 1, 0/0 do end",
        "for i = -2^53, 2^53, 0 do end",
        "return math.fmod(1, 0), 1 % 0, 1 // 0, math.ldexp(1, 1e9)",
        "return vector.create(0/0, 1e308, -1e308) == vector.zero",
        "return bit32.replace(0, 1, 0, 33)",
        "return math.random(2^53, -2^53)",
        "return math.random(-2^63, 2^63)",
        "return math.random(0/0)",
        "return math.noise(1e308, 1e308, 1e308)",
        "return bit32.lshift(1, -2^31), bit32.extract(1, 31, 32)",
        "return bit32.rrotate(2^53, 2^53)",
        // JSON.
        "return json.decode(('['):rep(1e5))",
        "return json.decode(('{\"a\":'):rep(1e5))",
        "return json.decode('1e999999')",
        "return json.decode('\"\\\\ud800\"')",
        "return json.encode({ [2^40] = 1 })",
        "return json.encode(setmetatable({}, { __index = function() return 1 end, __len = function() return 1e9 end }))",
        "local t = {} for i = 1, 1e5 do t = { t } end return json.encode(t)",
        "local t = {} for i = 1, 1e5 do t = { t } end return t",
        "local t = {} for i = 1, 40 do t = { t, t } end return t",
        "return { n = 2^53 }",
        "return { 1, n = 1e18 }",
    ] {
        held(&engine, source);
    }
}

#[test]
fn errors_that_fight_back_are_errors_all_the_same() {
    let engine = small();
    for source in [
        "error(setmetatable({}, { __tostring = function() error('again') end }))",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "error(setmetatable({}, { __index = function() error('again') end }))",
        "error(setmetatable({}, { __index = function() while true do end end }))",
        "error(setmetatable({}, { __metatable = false }))",
        "error({ code = {}, message = function() end, retryable = 0/0, details = coroutine.create(error) })",
        "error({ code = ('x'):rep(1e6), message = ('y'):rep(1e6) })",
        "error({ code = 'a\\nb\\0', message = '\\255\\254' })",
        "local e = {} e.details = e error(e)",
        "error(nil)",
        "error(error)",
        "error(buffer.create(10))",
        "error(coroutine.create(error))",
        "error(('x'):rep(5e6))",
        "xpcall(error, function(e) error(e) end) error('out')",
        "local function handler() return xpcall(error, handler) end handler()",
        "local function handler(e) error(e) end local function f() xpcall(f, handler) error('x') end f()",
        "coroutine.wrap(function() error(setmetatable({}, { __tostring = error })) end)()",
        "coroutine.wrap(error)(coroutine.running())",
        "assert(false, setmetatable({}, { __tostring = function() return nil end }))",
        "parallel({ function() error(setmetatable({}, { __tostring = error })) end }, { join = 'all_success' })",
        "step('s', function() error(setmetatable({}, { __index = error, __tostring = error })) end)",
        "spawn(function() error(setmetatable({}, { __tostring = error })) end)",
        "log(setmetatable({}, { __tostring = error }))",
        "phase(setmetatable({}, { __tostring = function() while true do end end }))",
        "emit(setmetatable({}, { __tostring = error }), 1)",
        "print(setmetatable({}, { __tostring = function() return {} end }))",
    ] {
        held(&engine, source);
    }
}

#[test]
fn threads_cannot_be_bred_or_taken_from_the_host() {
    let engine = small();
    for source in [
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "while true do coroutine.wrap(function() end)() end",
        "local function f() return coroutine.wrap(f)() end f()",
        "local function f() return pcall(coroutine.wrap(f)) end f() while true do end",
        "local function breed() coroutine.wrap(breed)() coroutine.wrap(breed)() end breed()",
        // The thread of a branch is the host's to resume.
        "local b b = spawn(function() b = coroutine.running() coroutine.yield() end) coroutine.resume(b)",
        "local t = coroutine.running() spawn(function() coroutine.resume(t) coroutine.close(t) end)",
        "local t parallel { function() t = coroutine.running() error('x') end, function() coroutine.resume(t) end }",
        "coroutine.yield(1, 2, 3)",
        "coroutine.wrap(coroutine.yield)(coroutine.running())",
        "coroutine.close(coroutine.create(function() end))",
    ] {
        held(&engine, source);
    }
}

#[test]
fn bytecode_is_never_loaded_and_all_of_a_source_is_read() {
    let engine = small();
    for source in
        ["\x1bLua", "\x1bLuaR\0", "\x03\x01\x00", "\x06\x03\x00\x00", "return 1\0", "\u{feff}\0return 1", "#!/bin/sh"]
    {
        assert_eq!(end(&engine, &format!("{source}\nreturn 1")), "syntax_error", "{source:?}");
    }
}
