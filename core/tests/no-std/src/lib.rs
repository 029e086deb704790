//! The core, where there is no std. See `Cargo.toml`.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};

pub use zabra_core::server::Server;

struct NoMemory;

// SAFETY: it never gives memory out.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NO_MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
