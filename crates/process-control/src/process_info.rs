//! A process as supervisord describes it.

use std::collections::BTreeMap;

use dxr::Value;

/// A process of supervisord, from its method `getAllProcessInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Name of its group.
    pub group: String,
    /// Name within the group.
    pub name: String,
    /// State name.
    pub state: String,
    /// Process id, while it has one.
    pub pid: Option<u32>,
    /// Last start, in seconds since the Unix epoch.
    pub start: Option<u64>,
    /// Present time of supervisord.
    pub now: u64,
    /// Path of its log.
    pub log: Option<String>,
}

impl ProcessInfo {
    /// Returns the name as `supervisorctl` has it.
    pub fn full_name(&self) -> String {
        if self.group == self.name { self.name.clone() } else { format!("{}:{}", self.group, self.name) }
    }

    /// True if supervisord expands its name to the whole group.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.name.as_str(), "" | "*")
    }

    /// True if supervisord would refuse to start it, because it runs or will run.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "RUNNING" | "STARTING" | "BACKOFF")
    }

    /// True if it has no process, and supervisord is not about to start one.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state.as_str(), "STOPPED" | "EXITED" | "FATAL" | "UNKNOWN")
    }
}

/// Reads the processes from a response; `None` if a part of it is missing or of another type.
pub fn parse(value: &Value) -> Option<Vec<ProcessInfo>> {
    let Value::Array(processes) = value else { return None };
    processes.iter().map(process).collect()
}

fn process(value: &Value) -> Option<ProcessInfo> {
    let Value::Struct(members) = value else { return None };
    let positive = |name: &str| number(members, name).map(|number| (number > 0).then_some(number));
    let log = text(members, "stdout_logfile").filter(|path| !path.is_empty());
    Some(ProcessInfo {
        group: text(members, "group")?,
        name: text(members, "name")?,
        state: text(members, "statename")?,
        pid: positive("pid")?.and_then(|pid| u32::try_from(pid).ok()),
        start: positive("start")?,
        now: number(members, "now")?,
        log: log.or_else(|| text(members, "stderr_logfile").filter(|path| !path.is_empty())),
    })
}

fn text(members: &BTreeMap<String, Value>, name: &str) -> Option<String> {
    match members.get(name)? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(members: &BTreeMap<String, Value>, name: &str) -> Option<u64> {
    match members.get(name)? {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_lacks_something_has_no_processes() {
        let members = |pid: Value| {
            let text = |text: &str| Value::String(text.to_owned());
            BTreeMap::from([
                ("group".to_owned(), text("a")),
                ("name".to_owned(), text("b")),
                ("statename".to_owned(), text("STOPPED")),
                ("pid".to_owned(), pid),
                ("start".to_owned(), Value::Integer(0)),
                ("now".to_owned(), Value::Integer(7)),
                ("stdout_logfile".to_owned(), text("")),
                ("stderr_logfile".to_owned(), text("/l")),
            ])
        };
        let array = |members| Value::Array(vec![Value::Struct(members)]);
        let found = ProcessInfo {
            group: "a".into(),
            name: "b".into(),
            state: "STOPPED".into(),
            now: 7,
            log: Some("/l".into()),
            ..ProcessInfo::default()
        };
        assert_eq!(found.full_name(), "a:b");
        assert_eq!(parse(&array(members(Value::Integer(0)))), Some(vec![found]));
        assert_eq!(parse(&array(members(Value::Boolean(true)))), None);
        assert_eq!(parse(&Value::Boolean(true)), None);
        for missing in ["group", "name", "statename", "pid", "start", "now"] {
            let mut members = members(Value::Integer(0));
            members.remove(missing);
            assert_eq!(parse(&array(members)), None, "{missing}");
        }
    }
}
