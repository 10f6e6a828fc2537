//! Going through choices: all single and all double faults of a run, and the shortest list that still makes it fail.

use super::tape::{Choice, Question, Tape};
use alloc::vec::Vec;

/// Runs a world once for each list of at most `most` (one or two) choices that are not boring: `run` takes a tape that keeps its
/// questions, and gives back the questions that were asked and whether to go on. Returns how many runs there were.
pub fn all_faults(most: usize, mut run: impl FnMut(Tape) -> (Vec<Question>, bool)) -> usize {
    let mut runs = 0;
    let mut lists: Vec<Vec<Choice>> = Vec::from([Vec::new()]);
    while let Some(list) = lists.pop() {
        let (questions, go_on) = run(Tape::list(&list).with_questions());
        runs += 1;
        if !go_on {
            return runs;
        }
        if list.len() >= most {
            continue;
        }
        // Only what is asked after the last choice, so that no list comes twice.
        let after = list.last().map_or(0, |last| {
            questions
                .iter()
                .position(|asked| (asked.site, asked.nth) == (last.site, last.nth))
                .map_or(0, |at| at + 1)
        });
        for asked in questions.iter().skip(after) {
            for value in (1..32).filter(|value| asked.allowed >> value & 1 == 1) {
                let mut longer = list.clone();
                longer.push(Choice { site: asked.site, nth: asked.nth, value });
                lists.push(longer);
            }
        }
    }
    runs
}

/// A short list that still fails: no choice of it can be left out alone, none made smaller. Halves are dropped, then less, then single
/// choices, then values are made smaller, until nothing changes. `fails` runs the world with a tape, at most `budget` times; it should ask
/// for the same monitor, or the list may end at another fault.
pub fn shrink(choices: &[Choice], mut budget: usize, mut fails: impl FnMut(Tape) -> bool) -> Vec<Choice> {
    let mut best = choices.to_vec();
    let mut try_out = |list: &[Choice]| {
        if budget == 0 {
            return false;
        }
        budget -= 1;
        fails(Tape::list(list))
    };
    loop {
        let before = best.clone();
        drop_some(&mut best, &mut try_out);
        lower_some(&mut best, &mut try_out);
        if best == before {
            return best;
        }
    }
}

/// Leaves out half of the choices at once, then a quarter, and single ones in the end.
fn drop_some(best: &mut Vec<Choice>, try_out: &mut impl FnMut(&[Choice]) -> bool) {
    let mut size = best.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.len() {
            let mut shorter = best.clone();
            shorter.drain(at..(at + size).min(best.len()));
            if try_out(&shorter) {
                *best = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
}

/// Makes each value as small as it can be.
fn lower_some(best: &mut Vec<Choice>, try_out: &mut impl FnMut(&[Choice]) -> bool) {
    for at in 0..best.len() {
        let value = best.get(at).map_or(0, |choice| choice.value);
        for smaller in 1..value {
            let mut simpler = best.clone();
            if let Some(choice) = simpler.get_mut(at) {
                choice.value = smaller;
            }
            if try_out(&simpler) {
                *best = simpler;
                break;
            }
        }
    }
}
