//! A manual page.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::exit_status::Status;
use crate::notice::GENERATED;
use crate::tools::Section;
use crate::usage;

/// The page of a built command, in the language of `man`.
pub fn page(command: &Command, section: Section, statuses: &[Status]) -> Result<String> {
    let synopsis = usage::lines(command).join("\n");
    let man = Man::new(command.clone().override_usage(synopsis))
        .section(section.number())
        // Quoted, because roff would skip an empty argument and read the next one as the date.
        .date("\"\"")
        .source("Leonardo base image")
        .manual(section.title());
    // Section by section, because the whole page would contain the version.
    let mut page = format!(".\\\" {GENERATED}\n{}", Roff::new().render());
    page += &part(|out| man.render_title(out))?;
    page += &part(|out| man.render_name_section(out))?;
    page += &part(|out| man.render_synopsis_section(out))?;
    page += &part(|out| man.render_description_section(out))?;
    page += &part(|out| man.render_options_section(out))?;
    if command.get_subcommands().any(|subcommand| !subcommand.is_hide_set()) {
        page += &part(|out| man.render_subcommands_section(out))?;
    }
    page += &part(|out| exit_status_section(statuses).to_writer(out))?;
    if let Some(notes) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        page += &part(|out| epilogue(&notes.to_string()).to_writer(out))?;
    }
    Ok(page)
}

/// Returns one section without its preamble.
fn part(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes).context("cannot render a manual page")?;
    let text = String::from_utf8(bytes).context("a manual page is not text")?;
    Ok(text.strip_prefix(&Roff::new().render()).map_or(text.clone(), str::to_owned))
}

/// Sections of the text after the options: a block such as `Files:` becomes FILES, the rest NOTES.
fn epilogue(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut is_note = false;
    for block in text.trim_end().split("\n\n") {
        let list = block.split_once(":\n").filter(|(title, lines)| {
            !title.contains('\n') && lines.lines().all(|line| line.starts_with("  "))
        });
        if let Some((title, lines)) = list {
            roff.control("SH", [title.to_uppercase().as_str()]);
            // Lines of 78 columns are longer than a terminal with the section's indentation.
            as_it_is(&mut roff, lines.lines().map(|line| &line[2..]));
            is_note = false;
            continue;
        }
        if is_note {
            roff.control("PP", []);
        } else {
            roff.control("SH", ["NOTES"]);
            is_note = true;
        }
        if block.lines().any(|line| line.starts_with(' ')) {
            as_it_is(&mut roff, block.lines());
        } else {
            roff.text([roman(block)]);
        }
    }
    roff
}

/// Adds text whose line breaks are kept, such as a table.
fn as_it_is<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn exit_status_section(statuses: &[Status]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for status in statuses {
        roff.control("TP", []).text([bold(status.code)]).text([roman(status.meaning.as_str())]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_status;
    use crate::pages::tests::lamp;
    use crate::tools::PassesOn;

    #[test]
    fn a_page_has_every_section_and_neither_date_nor_version() {
        let mut command = lamp();
        command.build();
        let statuses = exit_status::of(PassesOn::Nothing, None);
        assert_eq!(page(&command, Section::User, &statuses).unwrap(), include_str!("../tests/lamp.1"));
    }
}
