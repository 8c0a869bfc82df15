//! Makes cargo rebuild the crate when a migration is added: `sqlx::migrate!` reads the folder at
//! compile time and cargo would not notice a new file in it.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
