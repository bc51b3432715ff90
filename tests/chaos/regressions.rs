//! Past bugs, each as the shortest storm that reproduces it.

use std::time::Duration;

use crate::{
    fault::{
        Kind::{ClientCut, LinkDown, Rubbish},
        Storm,
    },
    storm,
};

/// The node's clients got `user_joined` for a user who was still in their list, because the
/// subscription had lost the `user_left`.
#[tokio::test]
async fn who_lapsed_behind_a_cut_link_does_not_join_twice() {
    storm(101, Storm::Script(&[&[(0, LinkDown, 0, 4000)]]), Duration::ZERO).await;
}

/// All users were announced again after Redis had been unavailable for longer than the presence
/// TTL, though nobody had left.
#[tokio::test]
async fn users_stay_while_redis_is_away_for_longer_than_their_presence_lasts() {
    let lanes = Storm::Script(&[&[(0, LinkDown, 0, 4000)], &[(0, LinkDown, 1, 4000)]]);
    storm(102, lanes, Duration::ZERO).await;
}

/// A client that resumed from the id of a hand-published frame, an id in the future, got none of
/// the messages that it had missed.
#[tokio::test]
async fn an_id_of_the_future_hides_no_message() {
    let lanes = Storm::Script(&[
        &[(0, Rubbish, 3, 0), (50, ClientCut, 0, 800), (300, ClientCut, 1, 800)],
        &[(100, ClientCut, 5, 1200), (300, ClientCut, 6, 800)],
        &[(150, ClientCut, 10, 1200), (300, ClientCut, 11, 800)],
    ]);
    storm(103, lanes, Duration::ZERO).await;
}
