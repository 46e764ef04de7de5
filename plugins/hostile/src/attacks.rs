//! Calls that never return, or not unharmed.

use std::hint::black_box;

use crate::ConflictSet;

/// Attacks, if the pool's name is an attack's.
pub fn run(name: &str, input: &ConflictSet) {
    match name {
        "spin" => loop {
            std::hint::spin_loop();
        },
        "count" => count(),
        "memory-bomb" => memory_bomb(),
        "memory-grow" => memory_grow(),
        "recurse" => {
            black_box(recurse(input.now));
        }
        "recurse-deep-frames" => {
            black_box(recurse_with_frame(input.now, &mut [1; 4096]));
        }
        "panic" => panic!("a message that nobody outside can read"),
        "unreachable" => core::arch::wasm32::unreachable(),
        "out-of-bounds" => out_of_bounds(),
        "divide-by-zero" => divide_by_zero(),
        "regex" => backtrack(),
        _ => {}
    }
}

fn count() -> ! {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn memory_bomb() -> ! {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(vec![1; 1 << 20]);
        black_box(&hoard);
    }
}

fn memory_grow() -> ! {
    loop {
        black_box(core::arch::wasm32::memory_grow(0, 1));
    }
}

fn recurse(n: u64) -> u64 {
    if black_box(n) == 0 {
        return 0;
    }
    recurse(n.wrapping_add(1)).wrapping_mul(3) + 1
}

fn recurse_with_frame(n: u64, above: &mut [u64; 4096]) -> u64 {
    let mut frame = [n; 4096];
    black_box(&mut frame);
    above[(n % 4096) as usize] = n;
    if black_box(n) == 0 {
        return 0;
    }
    recurse_with_frame(n.wrapping_add(1), &mut frame).wrapping_add(above[7])
}

/// Integer division by zero, past the check that Rust makes.
fn divide_by_zero() {
    let zero = black_box(0u64);
    black_box(black_box(1u64).checked_div(zero)).expect("a resolver divided by zero");
}

/// Reads past the end of memory.
fn out_of_bounds() {
    let last = black_box(u32::MAX - 8) as *const u64;
    // SAFETY: none. This is the attack: the address lies past the end of linear memory,
    // where WebAssembly defines a trap.
    black_box(unsafe { last.read_volatile() });
}

/// `(a*)*b` on a text of `a`, as a backtracking engine would have it: takes 2^40 steps.
fn backtrack() {
    fn matches(text: &[u8], depth: u32) -> bool {
        if text.is_empty() || depth == 0 {
            return black_box(false);
        }
        (1..=text.len()).any(|n| matches(&text[n..], depth - 1))
    }
    black_box(matches(&[b'a'; 40], 40));
}
