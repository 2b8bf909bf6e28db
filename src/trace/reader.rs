//! From the lines of one or more files to records, with the place of each.
//!
//! A line may be torn where the program was ended while it wrote: at the end of the text, or before a heading.
//! Such a line is left out and noted; any other that cannot be read is an error.

use super::record::{Fault, Record};

/// A longer line is none of ours: a heading with 64 sources stays below this.
pub const MAX_LINE: usize = 1 << 16;

/// A record and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Located {
    /// Which of the files, from zero.
    pub file: usize,
    /// The line in it, from one.
    pub line: u64,
    /// What it says.
    pub record: Record,
}

/// What is wrong with a trace, where, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Wrong {
    /// The line of the file that was read, from one.
    pub line: u64,
    /// What is wrong and how to mend it.
    pub what: String,
}

/// Takes in a file line by line.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    file: usize,
    line: u64,
    /// A line that could not be read: forgiven if nothing follows it but a heading.
    torn: Option<(u64, Fault)>,
    /// The lines that were left out.
    left_out: Vec<u64>,
}

impl Reader {
    /// For the file of this number, from zero.
    #[must_use]
    pub fn new(file: usize) -> Self {
        Self { file, ..Self::default() }
    }

    /// The next line, without its line feed; `None` if it says nothing.
    pub fn line(&mut self, bytes: &[u8]) -> Result<Option<Located>, Wrong> {
        self.line += 1;
        let (file, line) = (self.file, self.line);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let parsed = if bytes.len() > MAX_LINE {
            Err(Fault::Form { column: MAX_LINE, what: "the line is longer than any of a trace".to_owned() })
        } else {
            let text = String::from_utf8_lossy(bytes);
            Record::parse(&text)
        };
        match (parsed, self.torn.take()) {
            (Ok(record), None) => Ok(Some(Located { file, line, record })),
            (Ok(record @ Record::Heading(_)), Some((torn, _))) => {
                self.left_out.push(torn);
                Ok(Some(Located { file, line, record }))
            }
            (_, Some((line, fault))) => Err(Wrong { line, what: fault.to_string() }),
            // Another format is no accident.
            (Err(fault @ Fault::Format { .. }), None) => Err(Wrong { line, what: fault.to_string() }),
            (Err(fault), None) => {
                self.torn = Some((line, fault));
                Ok(None)
            }
        }
    }

    /// The file ends; `whole` if its last line did with a line feed. Gives the lines that were left out because they
    /// were torn.
    pub fn finish(mut self, whole: bool) -> Result<Vec<u64>, Wrong> {
        match self.torn.take() {
            Some((line, fault)) if whole => Err(Wrong { line, what: fault.to_string() }),
            Some((line, _)) => {
                self.left_out.push(line);
                Ok(self.left_out)
            }
            None => Ok(self.left_out),
        }
    }
}
