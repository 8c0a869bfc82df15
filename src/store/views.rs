//! The views of reports in the database: made when their text is another one, taken away while the
//! tables under them are changed.
//!
//! SQLite drops and makes them. Postgres replaces them, so that rights on them, comments and views of
//! others that rest on them stay. Before migrations both take them away, since they would hold on to the
//! columns that they use; Postgres keeps in `report_settings` who may read them, and leaves them where
//! they are if somebody else's view rests on one. Must not know what the views show.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::open::Store;
use super::transaction::Transaction;
use super::value::args;
use crate::reporting::{Dialect, VIEWS_VERSION, View, views, views_hash};

/// The names of those that are made, the version and the hash that they are of, and the rights to give.
type Made = (Option<String>, Option<i64>, Option<String>, Option<String>);

const MADE: &str =
    "select views, views_version, views_hash, view_grants from report_settings where id = 1";

/// The rights on the views, as statements that give them.
const GRANTS: &str = "select coalesce(string_agg(format('grant %s on %s to %s%s', \
     rights.privilege_type, quote_ident(c.relname), \
     case rights.grantee when 0 then 'public' else cast(cast(rights.grantee as regrole) as text) end, \
     case when rights.is_grantable then ' with grant option' else '' end), '; '), '') \
     from pg_class as c cross join lateral aclexplode(c.relacl) as rights \
     where c.relnamespace = (select oid from pg_namespace where nspname = current_schema()) and c.relkind = 'v' \
     and c.relname = any (string_to_array($1, ',')) and rights.grantee <> c.relowner";

/// How many views of others rest on the views.
const RESTING: &str = "select count(*) from pg_depend as d \
     join pg_rewrite as r on r.oid = d.objid join pg_class as c on c.oid = r.ev_class \
     join pg_class as ours on ours.oid = d.refobjid \
     where d.classid = cast('pg_rewrite' as regclass) and ours.relkind = 'v' \
     and ours.relnamespace = (select oid from pg_namespace where nspname = current_schema()) \
     and ours.relname = any (string_to_array($1, ',')) \
     and not (c.relnamespace = ours.relnamespace and c.relname = any (string_to_array($1, ',')))";

impl Store {
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Takes the views away before the tables are changed.
    pub(super) async fn withdraw_views(&self) -> Result<(), StoreError> {
        let exists = match self {
            Self::Sqlite(_) => "select count(*) from sqlite_master where name = 'report_settings'",
            Self::Postgres(_) => "select count(to_regclass('report_settings'))",
        };
        let mut tx = self.reading("look for views", "report_settings").await?;
        let there = tx.number(exists, Vec::new()).await? > 0;
        tx.end().await;
        if !there {
            return Ok(());
        }
        let mut tx = self.writing("take views away", "report_settings").await?;
        let sql = format!("{MADE}{}", tx.backend().lock());
        let made: Option<Made> = tx.row(AssertSqlSafe(sql), Vec::new()).await?;
        let Some((Some(names), _, Some(_), _)) = made else {
            tx.end().await;
            return Ok(());
        };
        let mut grants = None;
        if self.dialect() == Dialect::Postgres {
            if tx.number(RESTING, args![names.as_str()]).await? > 0 {
                tx.end().await;
                return Ok(());
            }
            let row: Option<(String,)> = tx.row(GRANTS, args![names.as_str()]).await?;
            grants = row
                .map(|(grants,)| grants)
                .filter(|grants| !grants.is_empty());
        }
        drop_views(&mut tx, &names).await?;
        tx.execute(
            "update report_settings set views = null, views_hash = null, view_grants = $1 \
             where id = 1",
            args![grants.as_deref()],
        )
        .await?;
        tx.commit().await
    }

    /// Whether the views are those of this version or of a later one.
    fn are_ours(&self, made: Option<&Made>) -> bool {
        made.is_some_and(|(_, version, hash, _)| {
            *hash == Some(views_hash(self.dialect()))
                || hash.is_some() && version.is_some_and(|version| version > VIEWS_VERSION)
        })
    }

    /// Whether the views are those of this version or of a later one.
    pub(super) async fn has_views(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        let made: Option<Made> = tx.row(MADE, Vec::new()).await?;
        Ok(self.are_ours(made.as_ref()))
    }

    /// Makes the views those of this version, unless a later one has made its own. The role that connects
    /// must own them.
    pub(super) async fn make_views(&self) -> Result<(), StoreError> {
        let mut tx = self.writing("make views", "report_settings").await?;
        let sql = format!("{MADE}{}", tx.backend().lock());
        let made: Option<Made> = tx.row(AssertSqlSafe(sql), Vec::new()).await?;
        // Another process may have been faster.
        if self.are_ours(made.as_ref()) {
            tx.end().await;
            return Ok(());
        }
        let (names, _, _, grants) = made.unwrap_or_default();
        let create = match self.dialect() {
            Dialect::Sqlite => {
                drop_views(&mut tx, names.as_deref().unwrap_or_default()).await?;
                "create view"
            }
            Dialect::Postgres => "create or replace view",
        };
        let views = views(self.dialect());
        for View { name, sql } in &views {
            tx.script(AssertSqlSafe(format!("{create} {name} as\n{sql}")))
                .await?;
        }
        if self.dialect() == Dialect::Postgres {
            if let Some(grants) = grants {
                tx.script(AssertSqlSafe(grants)).await?;
            }
            // Their comments are to be written anew.
            tx.script("comment on table _sqlx_migrations is null")
                .await?;
        }
        let names: Vec<&str> = views.iter().map(|view| view.name).collect();
        tx.execute(
            "update report_settings set views = $1, views_version = $2, views_hash = $3, \
             view_grants = null where id = 1",
            args![names.join(","), VIEWS_VERSION, views_hash(self.dialect())],
        )
        .await?;
        tx.commit().await
    }
}

/// Drops the views with these names, the last one first.
async fn drop_views(tx: &mut Transaction, names: &str) -> Result<(), StoreError> {
    for name in names.rsplit(',').filter(|name| !name.is_empty()) {
        tx.script(AssertSqlSafe(format!("drop view if exists {name}")))
            .await?;
    }
    Ok(())
}
