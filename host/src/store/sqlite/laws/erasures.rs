//! An erasure looks for events beside the writer, and ends what there is of them in the writer.

use super::*;
use crate::store::sqlite::command::WriteCommand;
use crate::store::sqlite::erase;
use crate::store::{Erased, Erasure};

#[tokio::test]
async fn a_replay_between_the_search_of_an_erasure_and_its_writes_leaves_no_open_delivery() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let mut new = NewEvent { deliveries: vec![Target::to("audit").into()], ..event() };
    new.attributes.subject = Some("jo".to_owned());
    let id = store.append(new).await.unwrap().id;
    let jo = Erasure::Subject("jo".to_owned());
    let (events, keys, _) = erase::found(&file.connection(), &jo, false).unwrap();
    assert_eq!(events, [id]);
    let to = || vec![Target::to("orders")];
    store.replay(None, id, to()).await.unwrap();
    let erased = store.ask(|reply| WriteCommand::Erase { events, keys, reply }).await.unwrap();
    assert_eq!(erased, Erased { events: 1, ended: 2, ..Erased::default() });
    let view = store.event(id).await.unwrap();
    let states: Vec<State> = view.deliveries.iter().map(|delivery| delivery.state).collect();
    assert_eq!((view.emptied.is_some(), &states[..]), (true, &[State::Cancelled; 2][..]));
    let refused = store.replay(None, id, to()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
}
