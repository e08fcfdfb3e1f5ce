//! Builds images on this machine, with options that `docker-bake.hcl` cannot contain: the machine's certificates and
//! proxies and, if no container registry can be reached, a base from the distribution's package archive and tools compiled
//! by the host's cargo.

mod base_selection;
pub mod bootstrap;
mod network_settings;
mod tools;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fs, iter};

use anyhow::{Result, anyhow};
use kit::{HintExt, Outcome};

use crate::bake::{self, Variant};
use crate::checkout::Checkout;
use crate::engine::{self, Choice, Engine};
use crate::{step, timed_command};
use base_selection::{Base, BaseAvailability};
use bootstrap::Bootstrap;

/// An image that is in the engine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its reference, such as `leonardo/base-image:cpu-22.04`.
    pub image: String,
    /// Its tag, without the repository.
    pub variant: String,
    /// The digest of its configuration: it changes when anything in the image does.
    pub id: String,
}

/// Builds one variant, or the machine's default, and loads it into the engine.
///
/// A cached build takes seconds. Fails with candidates on a request that names no variant.
pub fn build(engine: &Engine, request: Option<&str>) -> Result<Built> {
    Ok(build_with(engine, request, ExtendedImages::Ignore)?.0)
}

/// Builds one variant, or the machine's default, and the extended images that are built on it. Returns the names of the
/// extended images that are not.
pub fn build_for_tests(engine: &Engine, request: Option<&str>) -> Result<(Built, BTreeSet<String>)> {
    build_with(engine, request, ExtendedImages::Build)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ExtendedImages {
    Ignore,
    Build,
}

fn build_with(
    engine: &Engine,
    request: Option<&str>,
    images: ExtendedImages,
) -> Result<(Built, BTreeSet<String>)> {
    let checkout = Checkout::find()?;
    let builder = Builder::new(checkout.clone(), || engine.docker());
    let request = request.unwrap_or_else(|| builder.default_variant());
    let catalogue = bake::read(in_root(&checkout, engine.docker()), bake::EVERYTHING)?;
    let variant = bake::into_anyhow(bake::resolve(&catalogue, request))?;
    let is_on_it = |other: &&Variant| images == ExtendedImages::Build && other.from == variant.image;
    let variants: Vec<_> = iter::once(variant).chain(catalogue.variants().filter(is_on_it)).collect();
    let mut bake = bake::command(in_root(&checkout, engine.docker()), &variants, &[]);
    // The docker driver always loads the result; a builder in a container needs the option.
    bake.arg("--load");
    bake::Engine::add_machine_options(&builder, &mut bake, &variants)?;
    bake::Engine::prepare(&builder, &variants)?;
    let names: Vec<_> = variants.iter().map(|variant| variant.image.as_str()).collect();
    let from = match builder.base(variant)? {
        Base::Listed => &variant.base,
        Base::Bootstrapped(bootstrap) => bootstrap.image(),
    };
    let title = format!("build {} on {from}", names.join(", "));
    step::run(&title, &mut bake)?;
    let id =
        kit::cmd::stdout(engine.docker().args(["image", "inspect", "--format", "{{.Id}}", &variant.image]))?;
    let id = engine::expect_line(&id, "image")?.to_owned();
    let is_built = |image: &&str| variants.iter().any(|variant| variant.extended.as_deref() == Some(image));
    let others = catalogue.extended_images().into_iter().filter(|image| !is_built(image));
    let others = others.map(str::to_owned).collect();
    Ok((Built { image: variant.image.clone(), variant: variant.tag.clone(), id }, others))
}

/// `cargo xtask bake`: as in [`crate::bake`], with an engine only where something is built.
pub fn bake(args: &bake::Args) -> Outcome {
    let checkout = Checkout::find()?;
    let root = checkout.root().to_owned();
    if args.list || args.print || args.dry_run {
        let client = engine::client()?;
        return bake::run(args, &root, &Builder::new(checkout, || client.command()));
    }
    let engine = engine::find(Choice::Auto)?;
    bake::run(args, &root, &Builder::new(checkout, || engine.docker()))
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
}

impl<F: Fn() -> Command> Builder<F> {
    /// A builder for `docker`, which is asked for a registry only once.
    pub fn new(checkout: Checkout, docker: F) -> Self {
        Self { checkout, docker, registry: OnceCell::new() }
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
        tools::make(&self.checkout, &self.tools())
    }

    /// True if a container registry answers; asked once.
    pub fn registry(&self) -> bool {
        *self.registry.get_or_init(|| {
            let mut ask = (self.docker)();
            timed_command::stdout_within(
                ask.args(["buildx", "imagetools", "inspect", base_selection::DEFAULT_BASE]),
                REGISTRY_DEADLINE,
            )
            .is_ok()
        })
    }

    fn has_image(&self, image: &str) -> bool {
        let mut ask = (self.docker)();
        kit::cmd::run(ask.args(["image", "inspect", "--format", "{{.Id}}", image])).is_ok()
    }

    fn availability(&self, base: &str) -> BaseAvailability {
        BaseAvailability { registry: self.registry(), base_here: self.has_image(base) }
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

    /// Directory of the tools of all images.
    pub fn tools(&self) -> PathBuf {
        self.checkout.image_dir().join("tools")
    }
}

impl<F: Fn() -> Command> bake::Engine for Builder<F> {
    fn docker(&self) -> Command {
        (self.docker)()
    }

    fn add_machine_options(&self, bake: &mut Command, variants: &[&Variant]) -> Result<()> {
        for argument in network_settings::overrides(&kit::Env::from_process(), |path| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file())
        }) {
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
