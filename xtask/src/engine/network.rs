//! A private bridge, and packet filter rules that give its containers access to other networks.
//!
//! The daemon must not touch the packet filter: all daemons of a machine share the chains named `DOCKER*`, and
//! a starting daemon empties them for the others. So the few rules it needs are made here, each marked with
//! the bridge's name. Ports are published by docker's user-level proxy, which needs no rule.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::packages;
use super::subnet::{self, Networks, Subnet};

/// Network settings of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The bridge's name, which is also the mark on the rules.
    pub bridge: String,
    /// The address ranges.
    pub networks: Networks,
    /// MTU of the machine's own network, which drops larger packets silently.
    pub mtu: u32,
}

/// One packet filter rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    table: &'static str,
    chain: &'static str,
    arguments: Vec<String>,
}

/// Creates bridge and rules, and replaces those that an earlier engine of this checkout with `old_pool` left behind.
pub fn set_up(bridge: &str, id: &str, old_pool: Option<Subnet>) -> Result<Network> {
    remove_rules(bridge)?;
    remove_bridges(old_pool)?;
    let routes = routes()?;
    let taken = subnet::taken(&routes, bridge).context("cannot read the machine's routes")?;
    let networks =
        subnet::choose(id, &taken).context("every private address range is routed somewhere else")?;
    let mtu = subnet::default_device(&routes)
        .context("cannot read the machine's routes")?
        .and_then(|dev| mtu(&dev));
    let network = Network { bridge: bridge.to_owned(), networks, mtu: mtu.unwrap_or(1500) };
    if !exists(bridge) {
        kit::cmd::run(ip().args(["link", "add", "name", bridge, "type", "bridge"]))?;
    }
    kit::cmd::run(ip().args(["address", "flush", "dev", bridge]))?;
    kit::cmd::run(ip().args(["address", "add", &networks.bridge.gateway(), "dev", bridge]))?;
    kit::cmd::run(ip().args(["link", "set", "dev", bridge, "mtu", &network.mtu.to_string(), "up"]))?;
    for rule in rules(&network) {
        let insert = ["-w", "-t", rule.table, "-I", rule.chain];
        kit::cmd::run(iptables().args(insert).args(&rule.arguments))?;
    }
    Ok(network)
}

/// Removes bridges and rules; nothing to remove is fine.
pub fn tear_down(bridge: &str, pool: Option<Subnet>) -> Result<()> {
    remove_rules(bridge)?;
    remove_bridges(pool)?;
    if exists(bridge) {
        kit::cmd::run(ip().args(["link", "delete", "dev", bridge]))?;
    }
    Ok(())
}

/// Pattern of the names of docker's bridges, for iptables.
const OTHER_BRIDGES: &str = "br-+";

fn rules(network: &Network) -> Vec<Rule> {
    let Networks { bridge, pool } = network.networks;
    let mark = &network.bridge;
    [(network.bridge.as_str(), bridge), (OTHER_BRIDGES, pool)]
        .into_iter()
        .flat_map(|(device, subnet)| rules_of(device, subnet, mark))
        .collect()
}

/// Outgoing traffic gets the machine's address; incoming traffic is accepted only as a reply.
fn rules_of(device: &str, subnet: Subnet, mark: &str) -> [Rule; 3] {
    let rule = |table, chain, text: String| {
        let arguments =
            text.split(' ').chain(["-m", "comment", "--comment", mark]).map(str::to_owned).collect();
        Rule { table, chain, arguments }
    };
    [
        rule("nat", "POSTROUTING", format!("-s {subnet} ! -o {device} -j MASQUERADE")),
        rule("filter", "FORWARD", format!("-i {device} -s {subnet} -j ACCEPT")),
        rule(
            "filter",
            "FORWARD",
            format!("-o {device} -d {subnet} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ),
    ]
}

fn remove_rules(mark: &str) -> Result<()> {
    for table in ["nat", "filter"] {
        let listing = kit::cmd::stdout(iptables().args(["-w", "-t", table, "-S"]))?;
        for deletion in deletions(&listing, mark) {
            kit::cmd::run(iptables().args(["-w", "-t", table]).args(deletion))?;
        }
    }
    Ok(())
}

/// The arguments that delete each rule of `listing` (as `iptables -S` prints it) that carries our mark.
///
/// Deleting the listed rules, not those that would be made now, also removes rules of older versions.
fn deletions(listing: &str, mark: &str) -> Vec<Vec<String>> {
    let words = listing.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let ours = words.filter(|words| {
        words.first() == Some(&"-A")
            && words.windows(2).any(|pair| pair[0] == "--comment" && pair[1].trim_matches('"') == mark)
    });
    let delete = |words: Vec<&str>| {
        let rest = words.iter().skip(1).map(|word| word.trim_matches('"').to_owned());
        std::iter::once("-D".to_owned()).chain(rest).collect()
    };
    ours.map(delete).collect()
}

/// Removes the bridges of the daemon's networks; a starting daemon recreates them.
fn remove_bridges(pool: Option<Subnet>) -> Result<()> {
    let Some(pool) = pool else { return Ok(()) };
    for bridge in subnet::bridges_in(&routes()?, pool).context("cannot read the machine's routes")? {
        kit::cmd::run(ip().args(["link", "delete", "dev", &bridge]))?;
    }
    Ok(())
}

fn routes() -> Result<String> {
    kit::cmd::stdout(ip().args(["-json", "-4", "route", "show", "table", "all"]))
}

fn exists(device: &str) -> bool {
    fs::exists(format!("/sys/class/net/{device}")).unwrap_or(false)
}

fn mtu(device: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{device}/mtu")).ok()?.trim().parse().ok()
}

fn ip() -> Command {
    administrators("ip")
}

fn iptables() -> Command {
    administrators("iptables")
}

fn administrators(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", packages::search_path(&[]));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let networks = subnet::choose("00000003", &[]).unwrap();
        Network { bridge: "leo00000003".into(), networks, mtu: 1400 }
    }

    #[test]
    fn containers_get_out_and_only_answers_get_in() {
        let lines: Vec<_> = rules(&network())
            .into_iter()
            .map(|rule| format!("{} {} {}", rule.table, rule.chain, rule.arguments.join(" ")))
            .collect();
        let mark = "-m comment --comment leo00000003";
        assert_eq!(
            lines,
            [
                format!("nat POSTROUTING -s 10.64.48.0/24 ! -o leo00000003 -j MASQUERADE {mark}"),
                format!("filter FORWARD -i leo00000003 -s 10.64.48.0/24 -j ACCEPT {mark}"),
                format!(
                    "filter FORWARD -o leo00000003 -d 10.64.48.0/24 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT {mark}"
                ),
                format!("nat POSTROUTING -s 10.64.56.0/21 ! -o br-+ -j MASQUERADE {mark}"),
                format!("filter FORWARD -i br-+ -s 10.64.56.0/21 -j ACCEPT {mark}"),
                format!(
                    "filter FORWARD -o br-+ -d 10.64.56.0/21 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT {mark}"
                ),
            ]
        );
    }

    #[test]
    fn only_rules_with_our_whole_mark_are_deleted() {
        let listing = "-P FORWARD DROP\n-N DOCKER\n\
            -A FORWARD -i leo1 -m comment --comment leo1 -j ACCEPT\n\
            -A FORWARD -i leo11 -m comment --comment leo11 -j ACCEPT\n\
            -A FORWARD -i leo1 -j ACCEPT\n\
            -A FORWARD -o leo1 -m comment --comment \"leo1\" -j ACCEPT\n";
        assert_eq!(
            deletions(listing, "leo1"),
            [
                ["-D", "FORWARD", "-i", "leo1", "-m", "comment", "--comment", "leo1", "-j", "ACCEPT"],
                ["-D", "FORWARD", "-o", "leo1", "-m", "comment", "--comment", "leo1", "-j", "ACCEPT"],
            ]
        );
    }
}
