//! How many events a second so many hosts can handle, by what an event costs each part.

use std::fmt;

use serde_json::{Value, json};

/// The share of a core that does work under a steady load.
const USED: f64 = 0.8;

/// Cores of a host.
const HOST_CORES: f64 = 2.0;

const HOSTS: [u32; 4] = [1, 2, 4, 8];

/// Cores of the server, which has them for itself.
const SERVER_CORES: [u32; 2] = [2, 8];

/// The resource that bounds a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// The cores of the hosts.
    Hosts,
    /// A host has one writer for plain work, which is one process of the server.
    Writers,
    /// The cores of the server.
    Server,
}

/// Events a second for numbers of hosts and of the server's cores.
#[derive(Debug)]
pub(super) struct Scaling {
    rows: Vec<(u32, u32, f64, Bound)>,
}

/// The rates that follow from the CPU time of an event, in microseconds.
pub(super) fn scaling(host_us: f64, postgres_us: f64) -> Scaling {
    let mut rows = Vec::new();
    for cores in SERVER_CORES {
        for hosts in HOSTS {
            let (n, c) = (f64::from(hosts), f64::from(cores));
            let (rate, bound) = [
                (n * HOST_CORES * USED * 1e6 / host_us, Bound::Hosts),
                (n * USED * 1e6 / postgres_us, Bound::Writers),
                (c * USED * 1e6 / postgres_us, Bound::Server),
            ]
            .into_iter()
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .expect("there are three");
            rows.push((cores, hosts, rate, bound));
        }
    }
    Scaling { rows }
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Self::Hosts => "the hosts' cores",
            Self::Writers => "one writer a host",
            Self::Server => "the server's cores",
        }
    }
}

impl Scaling {
    pub(super) fn json(&self) -> Value {
        let row = |(cores, hosts, rate, bound): &(u32, u32, f64, Bound)| {
            json!({ "server_cores": cores, "hosts": hosts, "per_second": rate,
                "bound": bound.name() })
        };
        self.rows.iter().map(row).collect()
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "By these figures, with hosts of {HOST_CORES} cores and each core used for {:.0} %:\n",
            USED * 100.0
        )?;
        writeln!(f, "| server's cores | hosts | events/s | bounded by |")?;
        writeln!(f, "| ---: | ---: | ---: | --- |")?;
        for (cores, hosts, rate, bound) in &self.rows {
            writeln!(f, "| {cores} | {hosts} | {rate:.0} | {} |", bound.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_hosts_are_faster_until_the_server_is_full() {
        let scaling = scaling(80.0, 100.0);
        let of = |cores, hosts| {
            let found = scaling.rows.iter().find(|row| (row.0, row.1) == (cores, hosts));
            found.map(|row| (row.2.round(), row.3)).unwrap()
        };
        assert_eq!(of(2, 1), (8_000.0, Bound::Writers));
        assert_eq!(of(2, 4), (16_000.0, Bound::Server));
        assert_eq!(of(8, 4), (32_000.0, Bound::Writers));
        assert_eq!(of(8, 8), (64_000.0, Bound::Writers));
        let slow = super::scaling(400.0, 100.0);
        assert_eq!((slow.rows[0].2, slow.rows[0].3), (4_000.0, Bound::Hosts));
    }
}
