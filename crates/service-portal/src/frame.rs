//! The frame around every page: title, navigation, status and problems.

use journal::Entry;

use crate::app_state::AppState;
use crate::client::Client;
use crate::log_limit;
use crate::problems::{self, Problem, Severity};
use crate::status::{Status, counted};
use crate::verdict::Verdict;

/// Maximum number of problems that the page of services lists at once: more would hide the services on a phone.
const MAX_SHOWN_PROBLEMS: usize = 3;

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Services and their links.
    Services,
    /// Logs, live and with their history.
    Logs,
    /// Programs of supervisord.
    Processes,
    /// Stages of the boot.
    Boot,
    /// CPU, memory, disks, network and GPUs.
    System,
    /// Sessions, share links and credentials.
    Access,
}

impl Page {
    /// All pages, in the order of the navigation.
    const ALL: &[Self] =
        &[Self::Services, Self::Logs, Self::Processes, Self::Boot, Self::System, Self::Access];

    /// Returns the page's name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Logs => "Logs",
            Self::Processes => "Processes",
            Self::Boot => "Boot",
            Self::System => "System",
            Self::Access => "Access",
        }
    }

    /// Returns the page's path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Services => "/leonardo/",
            Self::Logs => "/leonardo/logs",
            Self::Processes => "/leonardo/processes",
            Self::Boot => "/leonardo/boot",
            Self::System => "/leonardo/system",
            Self::Access => "/leonardo/access",
        }
    }

    /// Returns the key that opens the page after `g`.
    pub fn key(self) -> char {
        match self {
            Self::Services => 's',
            Self::Logs => 'l',
            Self::Processes => 'p',
            Self::Boot => 'b',
            Self::System => 'y',
            Self::Access => 'a',
        }
    }
}

/// Values of the frame; every page has them as its field `frame`.
pub struct Frame {
    /// The page that is shown.
    pub page: Page,
    /// Name of the image.
    pub title: String,
    pub container: String,
    pub status: Status,
    /// Problems, errors first.
    pub problems: Vec<Problem>,
    /// True if the page lists the problems at once; otherwise the first is shown, and the list is opened on request.
    pub shows_problems: bool,
    /// True on the portal's own port. Pages of a service's port can be read by the service, so they have no navigation.
    pub is_portal: bool,
    /// The gate's verdict about the visitor.
    verdict: Verdict,
}

impl Frame {
    /// Creates the frame for a visitor.
    pub fn new(state: &AppState, client: Client<'_>, verdict: Verdict, page: Page) -> Self {
        let is_portal = client.port() == Some(ports::PORTAL);
        let entries = entries(state);
        let problems = if is_portal { problems::problems(state, &entries) } else { Vec::new() };
        let status =
            if is_portal { Status::new(&entries, &problems) } else { Status::without_details(&entries) };
        let has_error = problems.iter().any(|problem| problem.severity == Severity::Error);
        Self {
            page,
            shows_problems: page == Page::Services && has_error && problems.len() <= MAX_SHOWN_PROBLEMS,
            title: state.title().to_owned(),
            container: state.container_name().to_owned(),
            status,
            problems,
            is_portal,
            verdict,
        }
    }

    /// Returns the pages that the visitor can open. Without a login, there is no access to manage.
    pub fn navigation(&self) -> impl Iterator<Item = Page> {
        let shown = |page: &Page| self.has_login() || *page != Page::Access;
        Page::ALL.iter().copied().filter(|_| self.is_portal).filter(shown)
    }

    /// Returns the frame for a page of one sheet, on which the list of problems stays closed.
    pub fn with_closed_problems(self) -> Self {
        Self { shows_problems: false, ..self }
    }

    /// Returns the path from which an open page gets its changes.
    pub fn live_path(&self) -> &'static str {
        match self.page {
            Page::Services | Page::Processes | Page::Boot | Page::System => self.page.path(),
            _ => "/leonardo/frame",
        }
    }

    /// True if the gate requires a login.
    pub fn has_login(&self) -> bool {
        self.verdict != Verdict::Open
    }

    /// True if the visitor has a session that can be ended here.
    pub fn can_log_out(&self) -> bool {
        self.verdict == Verdict::Session && self.is_portal
    }

    /// Returns the class and the number of the errors and of the warnings, in words.
    pub fn problem_counts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let severities = [(Severity::Error, "problem"), (Severity::Warning, "warning")];
        severities.into_iter().filter_map(|(severity, noun)| {
            let count = self.problems.iter().filter(|problem| problem.severity == severity).count();
            (count > 0).then(|| (severity.class(), counted(count, noun)))
        })
    }
}

/// Reads the journal of the boot.
pub fn entries(state: &AppState) -> Vec<Entry> {
    state.journal().read().unwrap_or_else(|error| {
        log_limit::error(&error);
        Vec::new()
    })
}
