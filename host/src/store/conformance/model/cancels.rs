//! Events that cancel deliveries, on the store and on the model.

use super::*;
use crate::event::TargetOptions;

impl<H: Harness> Model<'_, H> {
    /// Appends an event of a subject. It cancels what came before it, and not its own deliveries.
    pub(super) async fn append_tagged(
        &mut self,
        subject: u8,
        (tag, cancels): Tags,
        targets: &[u8],
        delay_ms: u64,
    ) {
        let mut new = event("order.changed", &[]);
        new.attributes.subject = Some(format!("subject{subject}"));
        let target = |number: &u8| {
            let cancel_tag = tag.map(i64::from);
            let options = TargetOptions { cancel_tag, ..TargetOptions::default() };
            Arc::new(Target { plugin: plugin(*number).into(), options }).into()
        };
        new.deliveries = targets.iter().map(target).collect();
        new.cancels = cancels.iter().copied().map(i64::from).collect();
        new.delay_ms = delay_ms;
        let now_ms = self.host_ms();
        for delivery in self.deliveries.values_mut() {
            let of_subject = delivery.cancelled_by.filter(|(of, _)| *of == subject);
            if of_subject.is_some_and(|(_, tag)| cancels.contains(&tag)) {
                delivery.change(&Action::Cancel, Action::Cancel.takes(), now_ms);
            }
        }
        let id = append(&self.store(), new).await;
        self.stored(id, targets, delay_ms).await;
        for (_, delivery) in self.deliveries.iter_mut().filter(|(its, _)| its.event == id) {
            delivery.cancelled_by = tag.map(|tag| (subject, tag));
        }
    }
}
