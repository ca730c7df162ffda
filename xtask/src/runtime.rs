//! Where Windows programs run: on Windows as they are, on Linux under Wine.

use std::process::{Command, ExitCode};

use anyhow::Result;

#[cfg(windows)]
pub use native::{Runtime, prepare};

#[cfg(target_os = "linux")]
pub use wine::{Runtime, prepare};

#[cfg(not(any(windows, target_os = "linux")))]
compile_error!("cargo xtask runs on Windows, and on Linux with Wine");

#[cfg(windows)]
mod native {
    use std::env;
    use std::path::Path;
    use std::time::Duration;

    use super::{Command, ExitCode, Result};
    use crate::limit::TIME_LIMIT;
    use crate::{cargo, windows};

    pub struct Runtime {
        /// The target to build for, if it is not the compiler's own.
        target: Option<String>,
        /// What cargo is told to run programs by, if they have a time limit.
        runner: Option<String>,
    }

    #[expect(clippy::unnecessary_wraps, reason = "on Linux there is much to do here")]
    pub fn prepare() -> Result<ExitCode> {
        println!("Nothing to set up on Windows.");
        Ok(ExitCode::SUCCESS)
    }

    impl Runtime {
        pub fn start() -> Result<Self> {
            Self::start_for(None)
        }

        /// For programs that are built for `target`, or for the usual one.
        pub fn start_for(target: Option<&str>) -> Result<Self> {
            if let Some(target) = target {
                cargo::add_target(target)?;
            }
            let runner = Some(windows::as_runner()?);
            Ok(Self { target: target.map(str::to_owned), runner })
        }

        pub fn without_time_limit(mut self) -> Self {
            if env::var_os(TIME_LIMIT).is_none() {
                self.runner = None;
            }
            self
        }

        /// For another thread.
        #[expect(clippy::unnecessary_wraps, reason = "on Linux it catches signals")]
        pub fn another(&self) -> Result<Self> {
            Ok(Self { target: self.target.clone(), runner: self.runner.clone() })
        }

        pub fn cargo(&self, subcommand: &str) -> Command {
            let mut cargo = cargo::cargo();
            cargo.arg(subcommand);
            if let Some(runner) = &self.runner {
                cargo.args(["--config", runner]);
            }
            if let Some(target) = &self.target {
                cargo.args(["--target", target]);
            }
            cargo
        }

        /// The same for what runs where it is built, and starts programs itself.
        pub fn native_cargo(&self, subcommand: &str) -> Command {
            let mut cargo = cargo::cargo();
            cargo.arg(subcommand);
            cargo.args(self.runner.iter().flat_map(|runner| ["--config", runner]));
            cargo
        }

        /// A Windows program that has been built.
        #[expect(clippy::unused_self, reason = "on Linux it knows the runner")]
        pub fn program(&self, program: &Path) -> Command {
            Command::new(program)
        }

        #[expect(clippy::unused_self, reason = "on Linux it knows the runner")]
        pub fn describe_to(&self, _: &mut Command) {}

        #[expect(clippy::unused_self, reason = "on Linux it holds the session")]
        pub fn run(&mut self, command: &mut Command) -> Result<ExitCode> {
            let code = command.status()?.code().unwrap_or(1);
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }

        /// The same for at most this long; whether it ended well, or `None` if
        /// it had to be ended.
        #[expect(clippy::unused_self, reason = "on Linux it holds the session")]
        pub fn run_within(
            &mut self,
            command: &mut Command,
            limit: Duration,
        ) -> Result<Option<bool>> {
            let status = windows::run_within(command, limit)?;
            Ok(status.map(|status| status.success()))
        }
    }
}

#[cfg(target_os = "linux")]
mod wine {
    use std::path::Path;
    use std::process::Stdio;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::bail;
    use procfs::process::Process;

    use super::{Command, ExitCode, Result};
    use crate::cargo;
    use crate::limit::{TIME_LIMIT, TIMED_OUT};
    use crate::linux::session::{self, Session};
    use crate::linux::setup;
    use crate::linux::supervise::{Outcome, Supervisor};
    use crate::linux::target::Target;
    use crate::linux::valgrind::Valgrind;

    /// Longer than a runner's own, which ends its program within it.
    const GRACE: Duration = Duration::from_secs(10);

    pub struct Runtime {
        session: Arc<Session>,
        supervisor: Supervisor,
        /// Whether its programs may run for as long as they like.
        unlimited: bool,
    }

    pub fn prepare() -> Result<ExitCode> {
        setup::ready(Target::usual())?;
        println!("Ready: Windows programs run here under Wine.");
        Ok(ExitCode::SUCCESS)
    }

    impl Runtime {
        /// Makes this machine ready if it is not yet, and starts Wine.
        pub fn start() -> Result<Self> {
            Self::start_for(None)
        }

        /// For programs that are built for `target`, or for the usual one.
        pub fn start_for(target: Option<&str>) -> Result<Self> {
            Self::start_on(target.map_or(Ok(Target::usual()), Target::named)?, Stdio::null())
        }

        /// What programs with `WINEDEBUG=+server` ask of the wineserver is
        /// written to `trace`.
        pub fn start_traced(trace: Stdio) -> Result<Self> {
            Self::start_on(Target::usual(), trace)
        }

        fn start_on(target: &'static Target, trace: Stdio) -> Result<Self> {
            let ready = setup::ready(target)?;
            session::enter_namespace(&ready.wine)?;
            // From here on an interruption is answered in `run`, so that
            // the session always ends in order.
            let supervisor = Supervisor::new(GRACE)?;
            let session = Arc::new(Session::start(ready, trace)?);
            Ok(Self { session, supervisor, unlimited: false })
        }

        /// Lets programs run for as long as they like, unless a limit is asked for.
        pub fn without_time_limit(mut self) -> Self {
            self.unlimited = std::env::var_os(TIME_LIMIT).is_none();
            self
        }

        /// For another thread, in this session.
        pub fn another(&self) -> Result<Self> {
            let session = Arc::clone(&self.session);
            Ok(Self { session, supervisor: Supervisor::new(GRACE)?, unlimited: self.unlimited })
        }

        /// A call of cargo whose programs are built for Windows and run under Wine.
        pub fn cargo(&self, subcommand: &str) -> Command {
            let mut cargo = cargo::cargo();
            cargo.args([subcommand, "--target", self.session.target().name]);
            self.session.describe_to(&mut cargo);
            if self.unlimited {
                cargo.env(TIME_LIMIT, "0");
            }
            cargo
        }

        /// A call of cargo whose programs run where they are built, and start others
        /// under Wine: by `$COMPLETION_PORT_RUNNER runner PROGRAM`.
        pub fn native_cargo(&self, subcommand: &str) -> Command {
            let mut cargo = cargo::cargo();
            cargo.arg(subcommand);
            self.session.describe_to(&mut cargo);
            cargo.env("COMPLETION_PORT_RUNNER", format!("/proc/{}/exe", std::process::id()));
            cargo
        }

        /// A Windows program that has been built, within its time limit, as cargo runs it.
        pub fn program(&self, program: &Path) -> Command {
            self.session.program_by_runner(program)
        }

        /// The same for a program that calls cargo.
        pub fn describe_to(&self, command: &mut Command) {
            self.session.describe_to(command);
            command.env("CARGO_BUILD_TARGET", self.session.target().name);
        }

        /// A Windows program, to be started in the session without a runner.
        pub fn wine(&self, program: &Path) -> Command {
            self.session.program(program)
        }

        /// The same under Valgrind, which is made ready if it is not yet.
        pub fn valgrind(&self, options: &[&str], program: &Path) -> Result<Command> {
            let valgrind = Valgrind::ready(self.session.wine())?;
            let mut command = self.session.program_under(&valgrind.command(options), program);
            valgrind.describe_to(&mut command);
            Ok(command)
        }

        /// The process that is Wine's kernel.
        pub fn server(&self) -> Result<Process> {
            self.session.server()
        }

        pub fn run(&mut self, command: &mut Command) -> Result<ExitCode> {
            let outcome = self.supervisor.run(command, None)?;
            Ok(ExitCode::from(outcome.exit_code()))
        }

        /// The same for at most this long; whether it ended well, or `None` if
        /// it had to be ended.
        pub fn run_within(
            &mut self,
            command: &mut Command,
            limit: Duration,
        ) -> Result<Option<bool>> {
            // The runner ends its program sooner and better than we do.
            command.env(TIME_LIMIT, limit.as_secs().to_string());
            match self.supervisor.run(command, Some(limit + GRACE))? {
                Outcome::Interrupted(signal, _) => bail!("interrupted by {signal}"),
                outcome if outcome.exit_code() == TIMED_OUT => Ok(None),
                outcome => Ok(Some(outcome.exit_code() == 0)),
            }
        }
    }
}
