//! What was known to be done before something else began.

/// Things that were done, each with a value: the greatest value among those done before an instant is found in
/// log n.
#[derive(Debug)]
pub(super) struct Done {
    /// Sorted by `returned_us`; the value and operation are those of the greatest value up to there.
    greatest: Vec<Item>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) returned_us: u64,
    pub(super) value: u64,
    pub(super) operation: u64,
}

impl Done {
    pub(super) fn new(mut items: Vec<Item>) -> Self {
        items.sort_by_key(|item| item.returned_us);
        let mut greatest: Option<Item> = None;
        for item in &mut items {
            let most = greatest.filter(|most| most.value >= item.value).unwrap_or(*item);
            (item.value, item.operation) = (most.value, most.operation);
            greatest = Some(most);
        }
        Self { greatest: items }
    }

    /// The greatest value of what had returned strictly before `instant_us`. What returned in the very same
    /// microsecond counts as concurrent.
    pub(super) fn before(&self, instant_us: u64) -> Option<Item> {
        let count = self.greatest.partition_point(|item| item.returned_us < instant_us);
        self.greatest.get(count.checked_sub(1)?).copied()
    }
}
