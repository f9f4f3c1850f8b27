//! Links the seeded `getrandom` and the stopped clocks in, before the C library's.

fn main() {
    println!("cargo:rerun-if-changed=src/machine.c");
    // Whole: nothing names the symbol strongly, and the linker would leave it out.
    cc::Build::new().file("src/machine.c").link_lib_modifier("+whole-archive").compile("chancery_machine");
}
