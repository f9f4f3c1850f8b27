//! Links the seeded `getrandom` in, before the C library's.

fn main() {
    println!("cargo:rerun-if-changed=src/entropy.c");
    // Whole: nothing names the symbol strongly, and the linker would leave it out.
    cc::Build::new().file("src/entropy.c").link_lib_modifier("+whole-archive").compile("chancery_entropy");
}
