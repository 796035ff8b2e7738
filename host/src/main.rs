//! The thin end of the binary: everything is in [`hookbox::cli`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hookbox::cli::main()
}
