//! Scripts made by chance.

/// Numbers by chance.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Writes a script by chance, which may also hold these statements.
pub fn script(chance: &mut Chance, also: &[&str]) -> String {
    let mut writer = Writer { chance, also };
    let body = writer.block(2);
    let end = match chance.below(8) {
        0 => "error('failed', 0)".into(),
        1 => format!("if (args.n or 0) < 2 then continue_as({{n = (args.n or 0) + 1}}) end return {RESULT}"),
        _ => format!("return {RESULT}"),
    };
    format!("{body}\n{end}")
}

struct Writer<'a> {
    chance: &'a mut Chance,
    also: &'a [&'a str],
}

impl Writer<'_> {
    fn block(&mut self, depth: u32) -> String {
        let n = 1 + self.chance.below(3);
        (0..n).map(|_| self.statement(depth)).collect::<Vec<_>>().join("\n")
    }

    /// What a script may do. Whatever fails is caught, so that a script that is let be returns what it counted.
    fn statement(&mut self, depth: u32) -> String {
        if !self.also.is_empty() && self.chance.one_in(3) {
            return self.chance.of(self.also).into();
        }
        match self.chance.below(if depth == 0 { 9 } else { 15 }) {
            0 => "sleep('2ms')".into(),
            1 => "log(now() .. math.random(100))".into(),
            2 => "step('pure', function() return 1 end)".into(),
            3 => "wait_for('go', {timeout = '30ms'})".into(),
            4 => "wait_for('go')".into(),
            5 => "exec('true', nil, {retry = {max = 2, backoff = '1ms'}})".into(),
            6 => "approve({title = 't', timeout = '40ms', default = true})".into(),
            7 => self
                .chance
                .of(&["pcall(workflow, 'naps')", "pcall(workflow, 'quick')", "pcall(workflow, 'fails')"])
                .into(),
            8 => "process('sleep', {'0.01'}):wait('20ms')".into(),
            9 => format!("pcall(function()\n{}\nerror('thrown', 0)\nend)", self.block(depth - 1)),
            10 | 11 => {
                let options = self.chance.of(&["nil", "{retry = {max = 2, backoff = '3ms'}}", "{timeout = '20ms'}"]);
                let options = if self.chance.one_in(4) {
                    "{retry = {max = 3, backoff = '2ms'}, timeout = '15ms'}"
                } else {
                    options
                };
                let end = self.chance.of(&["return 1", "if c.attempt == 1 then error('again', 0) end"]);
                format!("pcall(step, 's', {options}, function(c)\n{}\n{end}\nend)", self.block(depth - 1))
            }
            12 | 13 => {
                let n = 1 + self.chance.below(3);
                let branches: Vec<String> =
                    (0..n).map(|_| format!("function()\n{}\nend", self.block(depth - 1))).collect();
                let join = self.chance.of(&["all_done", "all_success", "one_success"]);
                format!("pcall(parallel, {{ {} }}, {{join = '{join}'}})", branches.join(", "))
            }
            _ => format!("do local h = spawn(function()\n{}\nend) h:wait('5ms') end", self.block(depth - 1)),
        }
    }
}

/// What every script returns that is let be.
const RESULT: &str = "'done'";
