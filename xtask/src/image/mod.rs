//! Builds images on this machine, with options that `docker-bake.hcl` cannot contain: the machine's certificates and
//! proxies and, if no container registry can be reached, a base from the distribution's package archive and tools compiled
//! by the host's cargo.

mod base_selection;
pub mod bootstrap;
mod builder_driver;
mod cross_compiler;
mod network_settings;
mod tools;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use kit::{HintExt, Outcome};

use crate::bake::{self, Destination, Platform, Variant};
use crate::checkout::Checkout;
use crate::engine::{self, Choice, Engine};
use crate::{step, timed_command};
use base_selection::{Base, BaseAvailability};
use bootstrap::Bootstrap;
pub(crate) use builder_driver::SeparateBuilder;

/// An image that is in the engine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its reference, such as `leonardo/base-image:cpu-22.04`.
    pub image: String,
    /// The variant's name, as in `bake`.
    pub variant: String,
    /// Its tag, without the repository.
    pub tag: String,
    /// The digest of its configuration: it changes when anything in the image does.
    pub id: String,
}

/// Builds one variant, or the machine's default, and loads it into the engine.
///
/// A cached build takes seconds. Fails with candidates on a request that names no variant.
pub fn build(engine: &Engine, request: Option<&str>) -> Result<Built> {
    let checkout = Checkout::find()?;
    let builder = Builder::new(checkout.clone(), || engine.docker());
    let request = request.unwrap_or_else(|| builder.default_variant());
    let catalogue = bake::read(in_root(&checkout, engine.docker()), bake::EVERYTHING)?;
    let variant = bake::into_anyhow(bake::resolve(&catalogue, request))?;
    let mut bake = bake::command(in_root(&checkout, engine.docker()), &[variant], &[]);
    // The docker driver always loads the result; a builder in a container needs the option.
    bake.arg("--load");
    bake::Engine::add_machine_options(&builder, &mut bake, &[variant])?;
    bake::Engine::prepare(&builder, &[variant])?;
    let from = match builder.base(variant)? {
        Base::Listed => &variant.base,
        Base::Bootstrapped(bootstrap) => bootstrap.image(),
    };
    let title = format!("build {} on {from}", variant.image);
    step::run(&title, &mut bake)?;
    let id =
        kit::cmd::stdout(engine.docker().args(["image", "inspect", "--format", "{{.Id}}", &variant.image]))?;
    let id = engine::expect_line(&id, "image")?.to_owned();
    Ok(Built { image: variant.image.clone(), variant: variant.name.clone(), tag: variant.tag.clone(), id })
}

/// `cargo xtask bake`: as in [`crate::bake`], with an engine only where something is built.
pub fn bake(args: &bake::Args) -> Outcome {
    let checkout = Checkout::find()?;
    let root = checkout.root().to_owned();
    if args.list || args.print || args.dry_run {
        let client = engine::client()?;
        return bake::run(args, &root, &Builder::new(checkout, || client.command()).to(&args.destination)?);
    }
    let engine = engine::find(Choice::Auto)?;
    bake::run(args, &root, &Builder::new(checkout, || engine.docker()).to(&args.destination)?)
}

fn in_root(checkout: &Checkout, mut docker: Command) -> Command {
    docker.current_dir(checkout.root());
    docker
}

/// Timeout after which a registry counts as unreachable.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(5);

/// The machine's part of a build.
pub struct Builder<F> {
    checkout: Checkout,
    docker: F,
    registry: OnceCell<bool>,
    separate: Option<SeparateBuilder>,
    platforms: Vec<Platform>,
}

impl<F: Fn() -> Command> Builder<F> {
    /// A builder for `docker`, which is asked for a registry only once.
    pub fn new(checkout: Checkout, docker: F) -> Self {
        let platforms = vec![Platform::of_this_machine()];
        Self { checkout, docker, registry: OnceCell::new(), separate: None, platforms }
    }

    /// The same for a named builder of buildx, or for other platforms; fails if there is no such builder.
    fn to(mut self, destination: &Destination) -> Result<Self> {
        if let Some(name) = &destination.builder {
            self.separate = SeparateBuilder::find((self.docker)(), Some(name))?;
        }
        if !destination.platforms.is_empty() {
            self.platforms.clone_from(&destination.platforms);
        }
        Ok(self)
    }

    /// Returns the command that bakes one variant with this machine's options; has no effects.
    pub fn command(&self, variant: &Variant, sets: &[String]) -> Result<Command> {
        let mut bake = bake::command(in_root(&self.checkout, (self.docker)()), &[variant], sets);
        bake::Engine::add_machine_options(self, &mut bake, &[variant])?;
        Ok(bake)
    }

    /// Makes the base of a variant if no registry has it; returns whether it is such a one.
    pub fn prepare_base(&self, variant: &Variant) -> Result<bool> {
        let Base::Bootstrapped(base) = self.base(variant)? else { return Ok(false) };
        if !self.has_image(base.image()) {
            bootstrap::make(base, &self.docker, &self.checkout.image_dir())?;
        }
        Ok(true)
    }

    /// Compiles the tools with the host's cargo, for a machine without a registry.
    pub fn compile_tools(&self) -> Result<()> {
        let [platform] = self.platforms[..] else {
            return Err(anyhow!("the tools that this machine compiles are for one platform"))
                .hint(|| "without a registry, build each platform for itself".to_owned());
        };
        tools::make(&self.checkout, platform, &self.tools())
    }

    /// True if a container registry answers; asked once.
    pub fn registry(&self) -> bool {
        *self.registry.get_or_init(|| self.registry_has(base_selection::DEFAULT_BASE))
    }

    fn registry_has(&self, image: &str) -> bool {
        let mut ask = (self.docker)();
        let ask = ask.args(["buildx", "imagetools", "inspect", image]);
        timed_command::stdout_within(ask, REGISTRY_DEADLINE).is_ok()
    }

    fn has_image(&self, image: &str) -> bool {
        let mut ask = (self.docker)();
        kit::cmd::run(ask.args(["image", "inspect", "--format", "{{.Id}}", image])).is_ok()
    }

    fn availability(&self, base: &str) -> BaseAvailability {
        BaseAvailability {
            registry: self.registry() || base_selection::names_registry(base) && self.registry_has(base),
            base_here: self.separate.is_none() && self.has_image(base),
        }
    }

    fn default_variant(&self) -> &'static str {
        let variant = base_selection::default_variant(self.availability(base_selection::DEFAULT_BASE));
        if variant != base_selection::DEFAULT {
            log::info!(
                "no container registry is reachable; building {variant} from Debian's package archive instead of {}",
                base_selection::DEFAULT
            );
        }
        variant
    }

    fn base(&self, variant: &Variant) -> Result<Base> {
        let base = self.select_base(variant)?;
        if let Base::Bootstrapped(bootstrap) = base {
            let made_for = Platform::of_this_machine();
            let image = bootstrap.image();
            if let Some(builder) = &self.separate {
                return Err(anyhow!("{} cannot see {image}, which only this engine has", builder.describe()))
                    .hint(|| {
                        format!(
                            "push a base to a registry that the builder reaches, and add --set \
                             '{}.args.IMAGE_BASE=HOST/IMAGE:TAG'; or build without --builder",
                            variant.base_target()
                        )
                    });
            }
            ensure!(self.platforms == [made_for], "{image} is for {} alone", made_for.name());
        }
        Ok(base)
    }

    fn select_base(&self, variant: &Variant) -> Result<Base> {
        base_selection::select_base(&variant.base, self.availability(&variant.base))
            .ok_or_else(|| anyhow!("cannot build {}: no container registry has {}", variant.name, variant.base))
            .hint(|| {
                format!(
                    "the variants of cpu need none, and --set '{}.args.IMAGE_BASE={}' replaces the base; behind a proxy, \
                     set HTTPS_PROXY for the engine",
                    variant.base_target(),
                    Bootstrap::Ubuntu2204.image()
                )
            })
    }

    /// Directory of the tools of all images for a platform.
    pub fn tools(&self) -> PathBuf {
        let directory = match self.platforms[..] {
            [platform] if platform != Platform::of_this_machine() => {
                format!("tools-{}", platform.architecture())
            }
            _ => "tools".to_owned(),
        };
        self.checkout.image_dir().join(directory)
    }
}

impl<F: Fn() -> Command> bake::Engine for Builder<F> {
    fn docker(&self) -> Command {
        (self.docker)()
    }

    fn add_machine_options(&self, bake: &mut Command, variants: &[&Variant]) -> Result<()> {
        for argument in network_settings::overrides(
            &kit::Env::from_process(),
            |path| fs::metadata(path).is_ok_and(|meta| meta.is_file()),
            self.separate.as_ref().is_none_or(SeparateBuilder::is_here),
        ) {
            bake.arg("--set").arg(argument);
        }
        // Newer buildx asks before it reads outside the checkout, and would wait forever here.
        bake.env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
        if !self.registry() {
            let mut context = std::ffi::OsString::from("*.contexts.tools=");
            context.push(self.tools());
            bake.arg("--set").arg(context);
            // BuildKit looks up the compiler's image even though the stage that uses it is replaced.
            bake.args(["--set", "*.args.RUST_IMAGE=scratch"]);
        }
        let mut bases = BTreeSet::new();
        for variant in variants {
            // A variant that cannot be built can still be printed; `prepare` refuses it.
            if let Ok(Base::Bootstrapped(base)) = self.base(variant) {
                bases.insert(format!("{}.args.IMAGE_BASE={}", variant.base_target(), base.image()));
            }
        }
        for base in bases {
            bake.arg("--set").arg(base);
        }
        Ok(())
    }

    fn prepare(&self, variants: &[&Variant]) -> Result<()> {
        for variant in variants {
            self.prepare_base(variant)?;
        }
        if !self.registry() {
            self.compile_tools()?;
        }
        Ok(())
    }
}
