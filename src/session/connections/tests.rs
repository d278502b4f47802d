//! Which connections are ended, and what is known of them.

use tokio::task::coop::unconstrained;

use super::*;

fn enter(connections: &Arc<Connections>, peer: &str) -> Open {
    connections.enter(SocketAddr::new(peer.parse().unwrap(), 50_000))
}

/// How a connection has been ended.
async fn ended(connection: &Open) -> Option<String> {
    let mut ended = pin!(unconstrained(connection.handle().ended()));
    let outcome = poll_fn(|context| Poll::Ready(ended.as_mut().poll(context))).await;
    match outcome {
        Poll::Ready(end) => Some(end.to_string()),
        Poll::Pending => None,
    }
}

fn log_in(connection: &Open) {
    connection.handle().logged_in(&Identity::for_test("mrose"), 0);
}

fn evicted(connections: &Connections) -> Option<String> {
    connections.evict().map(|network| network.to_string())
}

#[tokio::test]
async fn the_oldest_of_the_network_with_most_is_ended() {
    let connections = Arc::new(Connections::default());
    let alone = enter(&connections, "192.0.2.1");
    let first = enter(&connections, "198.51.100.1");
    let second = enter(&connections, "198.51.100.2");
    let wide = enter(&connections, "2001:db8:0:100::1");
    assert_eq!(evicted(&connections).as_deref(), Some("198.51.100.0/24"));
    assert_eq!(ended(&first).await.as_deref(), Some("evicted"));
    for connection in [&alone, &second, &wide] {
        assert_eq!(ended(connection).await, None);
    }
    let wide_too = enter(&connections, "2001:db8:0:200::1");
    assert_eq!(evicted(&connections).as_deref(), Some("2001:db8::/48"));
    assert_eq!(ended(&wide).await.as_deref(), Some("evicted"));
    // All have one: the oldest goes first.
    assert_eq!(evicted(&connections).as_deref(), Some("192.0.2.0/24"));
    drop(second);
    assert_eq!(ended(&wide_too).await, None);
    assert_eq!(evicted(&connections).as_deref(), Some("2001:db8::/48"));
    assert_eq!(evicted(&connections), None);
    let tables = connections.lock();
    assert!(tables.evictable.is_empty() && tables.order.is_empty());
}

#[tokio::test]
async fn a_password_that_is_verified_and_a_login_are_not_disturbed() {
    let connections = Arc::new(Connections::default());
    let (first, second) = (enter(&connections, "192.0.2.1"), enter(&connections, "192.0.2.1"));
    let held = first.handle().hold().unwrap();
    assert!(evicted(&connections).is_some());
    assert!(ended(&second).await.is_some() && ended(&first).await.is_none());
    assert!(matches!(second.handle().hold(), Err(End::Evicted)));
    assert_eq!(evicted(&connections), None);
    drop(held);
    let third = enter(&connections, "192.0.2.1");
    let held = third.handle().hold().unwrap();
    log_in(&third);
    drop(held);
    // The one whose login has failed is the oldest again; the one that has logged in is gone.
    assert!(evicted(&connections).is_some());
    assert!(ended(&first).await.is_some() && ended(&third).await.is_none());
    assert_eq!(evicted(&connections), None);
}

#[tokio::test]
async fn an_operator_ends_any_session_but_one_that_removes_mail() {
    let connections = Arc::new(Connections::default());
    let [new, logged_in, updating] = [(); 3].map(|()| enter(&connections, "192.0.2.1"));
    log_in(&logged_in);
    log_in(&updating);
    updating.handle().begin_update().unwrap();
    for (connection, is_ended) in [(&new, true), (&logged_in, true), (&updating, false)] {
        assert_eq!(connection.handle().kick(), is_ended);
        assert_eq!(ended(connection).await.is_some_and(|end| end == "kicked"), is_ended);
    }
    assert!(matches!(logged_in.handle().begin_update(), Err(End::Kicked)));
    // The client of a session that has removed its messages may not read the reply.
    updating.handle().end_update(2, 0);
    assert!(updating.handle().kick() && updating.handle().activity().is_updating);
    assert_eq!(ended(&updating).await.as_deref(), Some("kicked"));
    assert!(!logged_in.handle().activity().is_updating);
}

/// A session that waits is woken, even if another task has polled it before.
#[tokio::test]
async fn the_session_that_waits_is_woken() {
    let connections = Arc::new(Connections::default());
    let open = enter(&connections, "192.0.2.1");
    let handle = Arc::clone(open.handle());
    let mut waiting = Box::pin(async move { handle.ended().await });
    assert!(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await);
    let waiting = tokio::spawn(waiting);
    tokio::task::yield_now().await;
    assert!(open.handle().kick());
    assert!(matches!(waiting.await, Ok(End::Kicked)));
}

#[test]
fn closed_connections_take_no_memory() {
    let connections = Arc::new(Connections::default());
    let open: Vec<_> = (0..200).map(|n| enter(&connections, &format!("192.0.{n}.1"))).collect();
    for connection in &open {
        drop(connection.handle().hold().unwrap());
    }
    let held = open[7].handle().hold().unwrap();
    log_in(&open[7]);
    drop(held);
    assert_eq!(connections.numbers(), (200, 1));
    let mut paged = Vec::new();
    loop {
        let page = connections.after(paged.last().copied().unwrap_or(0), 70);
        paged.extend(page.iter().map(|handle| handle.number()));
        if page.len() < 70 {
            break;
        }
    }
    assert_eq!(paged, (1..=200).collect::<Vec<_>>());
    drop(open);
    assert_eq!(connections.numbers(), (0, 0));
    let tables = connections.lock();
    assert!(tables.all.is_empty() && tables.evictable.is_empty() && tables.order.is_empty());
}
