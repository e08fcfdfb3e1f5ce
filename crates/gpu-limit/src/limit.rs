//! Chooses the variables that implement `GPU_COUNT` and Docker Swarm's reservations; a pure decision.

use kit::{Env, Problem, SettingsReader};

use crate::Gpus;
use crate::nvidia::NvidiaGpu;
use crate::{swarm, visible_devices};

const COUNT: &str = "GPU_COUNT";
pub const CUDA: &str = "CUDA_VISIBLE_DEVICES";
pub const CUDA_ORDER: &str = "CUDA_DEVICE_ORDER";
const NVIDIA_GIVEN: &str = "NVIDIA_VISIBLE_DEVICES";
pub const ROCR: &str = "ROCR_VISIBLE_DEVICES";
pub const HIP: &str = "HIP_VISIBLE_DEVICES";
pub const OPENCL: &str = "GPU_DEVICE_ORDINAL";

/// The result of `GPU_COUNT` and of Docker Swarm's reservations on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// Number of GPUs that programs may see; `None` without a limit.
    pub count: Option<usize>,
    /// Variables to export, without those that have their value already. A value may be empty, which hides every CUDA
    /// device and differs from unset.
    pub variables: Vec<(String, String)>,
    /// Deviations of the limit from the request.
    pub problems: Vec<Problem>,
}

/// Chooses the variables to export for the environment that programs would otherwise get.
#[must_use]
pub fn limit(env: &Env, gpus: &Gpus) -> Limit {
    let mut reader = SettingsReader::new(env);
    let count = wanted(&mut reader);
    let mut problems = reader.into_problems();
    let (reserved, unusable) =
        if env.get(CUDA).is_none() { swarm::names(env, &gpus.nvidia) } else { Default::default() };
    problems.extend(unusable);
    if count.is_none() && reserved.is_empty() {
        return Limit { problems, ..Limit::default() };
    }
    let mut builder = LimitBuilder {
        env,
        gpus,
        reserved,
        count: count.unwrap_or(usize::MAX),
        variables: Vec::new(),
        problems,
    };
    if count == Some(0) {
        builder.hide_all();
    } else {
        builder.limit_nvidia();
        builder.limit_amd();
        builder.admit_uncountable();
    }
    Limit { count, variables: builder.variables, problems: builder.problems }
}

/// Returns the problem of a `GPU_COUNT` that is no number of GPUs, whatever the machine has.
#[must_use]
pub fn setting_problem(env: &Env) -> Option<Problem> {
    let mut reader = SettingsReader::new(env);
    wanted(&mut reader);
    reader.into_problems().pop()
}

/// Returns the requested number; `None` without a limit or with an invalid one.
fn wanted(reader: &mut SettingsReader<'_>) -> Option<usize> {
    let value = reader.text(COUNT)?;
    if value.eq_ignore_ascii_case("all") {
        return None;
    }
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit is more than any machine has, so no limit.
        return value.parse().ok();
    }
    reader
        .problem(COUNT, format!("{value:?} is not a number of GPUs (0 or more, or 'all'); no limit is set"));
    None
}

/// A list of devices in the environment before the limit.
enum ExistingList<'env> {
    Unset,
    List(&'env str),
    Unreadable,
}

struct LimitBuilder<'a> {
    env: &'a Env,
    gpus: &'a Gpus,
    /// Devices that Docker Swarm reserves.
    reserved: Vec<String>,
    count: usize,
    variables: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl<'a> LimitBuilder<'a> {
    fn export(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if self.env.get(name).is_none_or(|given| given != value.as_str()) {
            self.variables.push((name.to_owned(), value));
        }
    }

    fn exports(&self, name: &str) -> bool {
        self.variables.iter().any(|(exported, _)| exported == name)
    }

    fn problem(&mut self, message: String) {
        self.problems.push(Problem::new(COUNT, message));
    }

    fn own(&self, name: &str) -> ExistingList<'a> {
        match self.env.get(name).map(|value| value.to_str()) {
            None => ExistingList::Unset,
            Some(Some(list)) => ExistingList::List(list),
            Some(None) => ExistingList::Unreadable,
        }
    }

    /// Like `own`, for runtimes that read an empty list as no list.
    fn has_entries(&self, name: &str) -> bool {
        !matches!(self.own(name), ExistingList::Unset | ExistingList::List(""))
    }

    /// Truncates an existing list; returns whether there is one.
    fn cut_own(&mut self, name: &str) -> bool {
        match self.own(name) {
            ExistingList::Unset => return false,
            ExistingList::List(list) => {
                if let Some(shorter) = visible_devices::truncate(list, self.count) {
                    self.export(name, shorter);
                }
            }
            ExistingList::Unreadable => {
                self.problems.push(Problem::new(name, "the value is not UTF-8 text; not changed"));
            }
        }
        true
    }

    /// Hides all GPUs, including any that discovery missed.
    fn hide_all(&mut self) {
        self.export(CUDA, "");
        // The lowest AMD layer hides the GPUs from all above it, and an index below 0 is never a device.
        self.export(ROCR, "-1");
    }

    fn limit_nvidia(&mut self) {
        if self.cut_own(CUDA) {
            return;
        }
        if !self.reserved.is_empty() {
            let list: Vec<String> = self.reserved.iter().take(self.count).cloned().collect();
            if list.len() < self.gpus.nvidia.len() || self.gpus.nvidia.iter().any(|gpu| gpu.mig.is_some()) {
                self.export_cuda(&list);
            }
            return;
        }
        match choose(&self.gpus.nvidia, &MigNames::read(self.env), self.count) {
            Choice::All => {}
            Choice::These(list) => self.export_cuda(&list),
            Choice::Fewer { list, instances } => {
                self.problem(format!(
                    "{} whole GPU(s) are visible and {instances} MIG instance(s) are not: {WITHOUT_NAMES}",
                    list.len()
                ));
                self.export_cuda(&list);
            }
            Choice::Unnamed { instances } => {
                self.problem(format!("not applied to {instances} MIG instance(s): {WITHOUT_NAMES}"));
            }
        }
    }

    fn export_cuda(&mut self, list: &[String]) {
        self.export(CUDA, list.join(","));
        if self.env.text(CUDA_ORDER).is_none() {
            self.export(CUDA_ORDER, "PCI_BUS_ID");
        }
    }

    fn limit_amd(&mut self) {
        // HIP and OpenCL number what ROCr left over. Where one of their lists is set, cutting the ROCr list as
        // well could take away the very devices that it names.
        let mut above = self.has_entries(CUDA) && self.gpus.nvidia.is_empty();
        for name in [HIP, OPENCL] {
            above |= self.has_entries(name) && self.cut_own(name);
        }
        if above || self.cut_own(ROCR) || self.gpus.amd.is_empty() {
            return;
        }
        let seen = self.count.min(self.gpus.amd.len());
        let hides = seen < self.gpus.amd.len();
        // HIP reads the NVIDIA list, unless it has one of its own. Without NVIDIA GPUs, we are not here.
        let theirs = self.has_entries(CUDA);
        let ours = self.exports(CUDA) && !theirs;
        if ours || (theirs && hides) {
            self.export(HIP, visible_devices::first_n(seen));
        } else if hides {
            self.export(ROCR, visible_devices::first_n(seen));
        }
    }

    fn admit_uncountable(&mut self) {
        let listed = [CUDA, HIP, ROCR].iter().any(|name| self.env.get(name).is_some());
        if self.gpus.uncountable && !listed {
            self.problem(
                "not applied: /dev/dxg does not report the number of GPUs; list them in CUDA_VISIBLE_DEVICES"
                    .to_owned(),
            );
        }
    }
}

pub const WITHOUT_NAMES: &str =
    "their names are unknown; set CUDA_VISIBLE_DEVICES to names printed by 'nvidia-smi -L'";

/// MIG instances named in `NVIDIA_VISIBLE_DEVICES`; used only if it matches the instances found, because it may be
/// stale.
#[derive(Default)]
pub struct MigNames {
    /// The names, if it consists of nothing else.
    pub names: Vec<String>,
    /// Number of instances it mentions in any form.
    pub mentioned: usize,
}

impl MigNames {
    /// Reads the variable.
    pub fn read(env: &Env) -> Self {
        let Some(given) = env.text(NVIDIA_GIVEN) else { return Self::default() };
        let names = visible_devices::mig_names(given).unwrap_or_default();
        Self {
            names: names.into_iter().map(str::to_owned).collect(),
            mentioned: given.split(',').filter(|entry| entry.trim().starts_with("MIG-")).count(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// There are no more than wanted.
    All,
    /// Exactly as many as wanted.
    These(Vec<String>),
    /// Fewer than wanted, because instances without a name would be next.
    Fewer { list: Vec<String>, instances: usize },
    /// None can be named.
    Unnamed { instances: usize },
}

fn choose(gpus: &[NvidiaGpu], given: &MigNames, count: usize) -> Choice {
    let in_mig_mode = gpus.iter().filter_map(|gpu| gpu.mig.as_ref());
    let instances: usize = in_mig_mode.clone().map(|mig| mig.instances.len()).sum();
    if in_mig_mode.count() == 0 {
        return if given.mentioned > 0 && count < given.mentioned.max(gpus.len()) {
            // The driver's files do not show MIG, yet the container was made for it: nothing here can be
            // trusted to be a whole GPU.
            Choice::Unnamed { instances: given.mentioned }
        } else {
            choose_whole(gpus, count)
        };
    }
    let whole: Vec<&NvidiaGpu> = gpus.iter().filter(|gpu| gpu.mig.is_none()).collect();
    if count >= whole.len() + instances {
        return Choice::All;
    }
    // Numbers would not do beside MIG: which devices CUDA numbers then depends on the driver.
    let mut list: Vec<String> = whole.iter().filter_map(|gpu| gpu.uuid.clone()).collect();
    if given.names.len() == instances {
        list.extend(given.names.iter().cloned());
    }
    if list.len() >= count {
        list.truncate(count);
        Choice::These(list)
    } else if list.is_empty() {
        Choice::Unnamed { instances }
    } else {
        Choice::Fewer { list, instances }
    }
}

fn choose_whole(gpus: &[NvidiaGpu], count: usize) -> Choice {
    if count >= gpus.len() {
        return Choice::All;
    }
    let names: Option<Vec<String>> = gpus.iter().take(count).map(|gpu| gpu.uuid.clone()).collect();
    Choice::These(names.unwrap_or_else(|| (0..count).map(|index| index.to_string()).collect()))
}

#[cfg(test)]
pub mod tests;
