//! Tests from outside: real processes and a real Redis. One module for each promise
//! or area; what they share is in `support`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "whoever runs the tests reads it")]

mod support;

mod bounded_numbers;
mod closed_rooms;
mod cluster;
mod creator_keeps_order;
mod defaults_hold;
mod deleted_messages;
mod drain;
mod durability;
mod embedded_users;
mod failover;
mod floods;
mod group_commit;
mod http_envelope;
mod http_messages;
mod http_rooms;
mod http_to_the_letter;
mod large_rooms;
mod live_tail;
mod lost_answers;
mod no_zombie;
mod nobody_is_someone_else;
mod once_in_order;
mod one_join_one_leave;
mod operator_is_told_why;
mod polite_end;
mod push;
mod redis_away;
mod redis_keys;
mod redis_refuses;
mod removed_users;
mod retry_is_not_a_repeat;
mod scripts;
mod settings;
mod slow_reader;
mod stored_then_told;
mod webhooks;
mod ws_protocol;
