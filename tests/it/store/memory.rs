//! What the process remembers of its commits ends with the connection that made them.

use helena_sync::data::Resource;

use super::{Writer, at, contact_details, session, with};
use crate::support::database::{Database, Kind, on_both};

impl Database {
    /// Ends all of the store's connections, as a server does that crashes or hands over to another.
    async fn end_connections(&self) {
        match self.kind {
            Kind::Sqlite => {}
            Kind::Postgres => {
                self.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and pid <> pg_backend_pid()",
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn commits_that_the_server_lost_with_its_connections_are_made_again() {
    on_both(|database| async move {
        if database.kind == Kind::Sqlite {
            // A file does not lose what a connection has committed and synced.
            return;
        }
        let writer = Writer::new(&database).await;
        let named = |number: u8, name: &str| {
            let details = contact_details(name, &[1, 2]);
            let session = session(number.into(), number.into());
            with(session, "contactDetails", details)
        };
        writer
            .store(Resource::Sessions, &[named(1, "Ana")], 1)
            .await;
        writer
            .store(Resource::Sessions, &[named(2, "Bia")], 2)
            .await;
        let name = "select name from contacts";
        assert_eq!(database.text(name).await, "Bia");

        // The second commit is lost, whole.
        database
            .execute(
                "delete from session_tags where right(cast(session_id as text), 1) = '2'; \
                 delete from sessions where right(cast(id as text), 1) = '2'; \
                 update contacts set name = 'Ana', observed_at = observed_at - interval '1 second'",
            )
            .await;
        database.end_connections().await;
        writer
            .store(Resource::Sessions, &[named(3, "Bia")], 3)
            .await;
        assert_eq!(database.text(name).await, "Bia");

        // All of it is lost: what sessions refer to must be there again.
        database
            .execute(
                "delete from session_tags; delete from contact_tags; delete from sessions; \
                 delete from contacts; delete from tags; delete from channels; \
                 delete from departments; delete from agents",
            )
            .await;
        database.end_connections().await;
        writer
            .store(Resource::Sessions, &[named(4, "Bia")], 4)
            .await;
        assert_eq!(database.text(name).await, "Bia");
        for (table, rows) in [
            ("sessions", 1),
            ("contact_tags", 2),
            ("session_tags", 2),
            ("tags", 2),
            ("channels", 1),
            ("departments", 1),
            ("agents", 1),
        ] {
            assert_eq!(database.count(table, "true").await, rows, "{table}");
        }
        writer.store.renew(&writer.lease, at(5)).await.unwrap();
    })
    .await;
}
