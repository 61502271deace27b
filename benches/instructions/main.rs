//! How many instructions the pieces of `pieces` and `aggregate` execute, for each record: figures to compare
//! from commit to commit, since they depend on no clock and on nobody else on the machine.
//!
//! `cargo bench --bench instructions` runs each piece under valgrind's callgrind, once and then three times
//! in one process: half of the difference is the piece, without what is made before it and without the start
//! of the process. It prints the counts beside those of the run before, and writes
//! `target/instructions.json`; callgrind's own files are in `target/callgrind`, for `callgrind_annotate`.
//! `-- --runs 5` shows how far counts are apart: maps have other seeds in each process, which makes 0.15 % at
//! most. `-- --only "sink, plain"` counts one piece, and writes no file.
//!
//! It needs valgrind and no crate: `gungraun` counts whole functions with what is fixed in them, not records,
//! wants a runner of its own version installed, and brings a dozen crates into every build of the tests.

mod callgrind;
mod counts;
mod piece;
#[path = "../pieces/sdk_call.rs"]
mod sdk_call;
#[path = "../pieces/through_sink.rs"]
mod through_sink;

use std::process::ExitCode;

use clap::Parser;

use self::counts::Count;
use self::piece::Piece;

#[derive(Parser)]
struct Arguments {
    /// Count only these pieces.
    #[arg(long)]
    only: Vec<String>,
    /// So many counts of each piece, to see how far they are apart.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// What is run under callgrind: this piece.
    #[arg(long, hide = true, requires = "times")]
    piece: Option<String>,
    /// So often.
    #[arg(long, hide = true)]
    times: Option<u32>,
    /// Given by `cargo bench`, and not by `cargo test --benches`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pieces = piece::all();
    if let (Some(name), Some(times)) = (&arguments.piece, arguments.times) {
        let piece = pieces.iter().find(|piece| piece.name == *name).expect("it is one");
        piece.run(times);
        return ExitCode::SUCCESS;
    }
    if !arguments.bench {
        println!("nothing is run without --bench, which `cargo bench` gives");
        return ExitCode::SUCCESS;
    }
    if !callgrind::is_here() {
        // Other benches go on without it.
        eprintln!("nothing is counted: valgrind is not here (apt-get install valgrind)");
        return ExitCode::SUCCESS;
    }
    let is_known = |name: &&String| pieces.iter().any(|piece| piece.name == **name);
    if let Some(unknown) = arguments.only.iter().find(|name| !is_known(name)) {
        let names: Vec<_> = pieces.iter().map(|piece| &*piece.name).collect();
        eprintln!("there is no piece {unknown:?}, only these: {names:?}");
        return ExitCode::FAILURE;
    }
    let is_wanted =
        |piece: &&Piece| arguments.only.is_empty() || arguments.only.contains(&piece.name);
    let counted = pieces.iter().filter(is_wanted).map(|piece| count(piece, arguments.runs));
    let counts = match counted.collect::<Result<Vec<_>, _>>() {
        Ok(counts) => counts,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    counts::print(&counts, &counts::before());
    if !arguments.only.is_empty() {
        return ExitCode::SUCCESS;
    }
    match counts::write(&counts) {
        Ok(path) => println!("\nwritten to {}", path.display()),
        Err(error) => {
            eprintln!("the counts cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn count(piece: &Piece, runs: usize) -> Result<Count, callgrind::Failed> {
    eprintln!("counting {}", piece.name);
    let of_a_unit = || callgrind::instructions(&piece.name).map(|count| count / piece.units as f64);
    let counts: Result<Vec<_>, _> = (0..runs.max(1)).map(|_| of_a_unit()).collect();
    Ok(Count::new(piece, counts?))
}
