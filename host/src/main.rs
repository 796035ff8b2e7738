//! The thin end of the binary: everything is in [`hookbox::cli`].

fn main() -> std::process::ExitCode {
    hookbox::cli::main()
}
