//! A binary without std that makes a machine and polls it; it is checked, not run.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use sip_core::{Config, Endpoint, Machine, ua};

struct None;

unsafe impl GlobalAlloc for None {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: None = None;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    let mut endpoint = Endpoint::new(Config::new([0; 32]));
    let mut agent = ua::UserAgent::new(ua::Config::new(Config::new([0; 32]), "nobody"));
    i32::from(endpoint.poll().is_some()) + i32::from(agent.poll().is_some())
}
