// The crate semver, which is cargo's.
use std::cmp::Ordering;
use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    println!("semver 1.0.28 of crates.io");
    let mut lines = io::stdin().lock().lines();
    while let (Some(a), Some(b)) = (lines.next(), lines.next()) {
        let answer = match (semver::Version::parse(&a?), semver::Version::parse(&b?)) {
            (Ok(a), Ok(b)) => match a.cmp_precedence(&b) {
                Ordering::Less => "<",
                Ordering::Equal => "=",
                Ordering::Greater => ">",
            },
            _ => "?",
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}
