//! What one Maildir may use of the whole process only as long as others do not need it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many of something, for all Maildirs together.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

/// A part of a budget, given back on drop.
#[derive(Debug)]
pub(super) struct Loan {
    budget: &'static Budget,
    count: usize,
}

impl Budget {
    /// A budget of `most`.
    pub(super) const fn new(most: usize) -> Self {
        Self { left: AtomicUsize::new(most) }
    }

    /// As many as are wanted and left; that may be none.
    pub(super) fn borrow(&'static self, wanted: usize) -> Loan {
        let take = |left: usize| Some(left - wanted.min(left));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Loan { budget: self, count: before.map_or(0, |left| wanted.min(left)) }
    }
}

impl Loan {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_given_back() {
        static BUDGET: Budget = Budget::new(5);
        let first = BUDGET.borrow(3);
        let second = BUDGET.borrow(3);
        assert_eq!((first.count(), second.count(), BUDGET.borrow(1).count()), (3, 2, 0));
        drop(first);
        assert_eq!(BUDGET.borrow(9).count(), 3);
        drop(second);
        assert_eq!(BUDGET.borrow(9).count(), 5);
    }
}
