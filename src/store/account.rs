//! Accounts: a name in the configuration, a company on the platform, an id in every row.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::error::StoreError;
use super::lease::Lease;
use super::open::Store;
use super::transaction::Transaction;
use super::value::{Id, Time, args};
use crate::data::{Learned, SessionVersion, Timestamp};

/// An account's id in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// An account as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name in the configuration.
    pub name: String,
    /// The platform's id of the company. `None` until a record has named it.
    pub company: Option<Uuid>,
    /// The address of its API.
    pub base_url: String,
}

/// Stores what was learned about the platform.
pub(super) async fn remember(
    tx: &mut Transaction,
    lease: &Lease,
    learned: &Learned,
) -> Result<(), StoreError> {
    let version = learned.session_list.map(|list| i64::from(list.number()));
    let scheme = learned.bare_token.then_some(BARE);
    tx.execute(
        "update accounts set session_list = $2, token_scheme = $3 where id = $1",
        args![lease.account().0, version, scheme],
    )
    .await?;
    Ok(())
}

/// The value of `token_scheme` if the token is sent without the word `Bearer`.
const BARE: &str = "bare";

impl Store {
    /// The id of the account of this name. Creates the account if it does not exist, and otherwise
    /// writes nothing: only the lease holder changes its address, with [`Store::set_base_url`].
    pub async fn account(
        &self,
        name: &str,
        base_url: &str,
        now: Timestamp,
    ) -> Result<AccountId, StoreError> {
        if let Some(known) = self.find_account(name).await? {
            return Ok(known.id);
        }
        let mut tx = self.writing("register the account", "accounts").await?;
        // Another process may have been faster.
        let id = tx
            .number(
                "insert into accounts (name, base_url, created_at) values ($1, $2, $3) \
                 on conflict (name) do update set name = excluded.name returning id",
                args![name, base_url, now],
            )
            .await?;
        tx.commit().await?;
        Ok(AccountId(id))
    }

    /// Stores the address of the account's API, and deletes what was learned about another address.
    /// Writes nothing if the address is the same as before.
    pub async fn set_base_url(&self, lease: &Lease, base_url: &str) -> Result<(), StoreError> {
        const IS_OTHER: &str = "id = $1 and base_url <> $2";
        let args = || args![lease.account().0, base_url];
        let mut tx = self.reading("read the account", "accounts").await?;
        let sql = format!("select count(*) from accounts where {IS_OTHER}");
        let others = tx.number(AssertSqlSafe(sql), args()).await?;
        tx.end().await;
        if others == 0 {
            return Ok(());
        }
        let mut tx = self
            .writing_under(lease, "store the account's address", "accounts")
            .await?;
        let sql = format!(
            "update accounts set base_url = $2, session_list = null, token_scheme = null, \
             trouble = null, trouble_since = null where {IS_OTHER}"
        );
        tx.execute(AssertSqlSafe(sql), args()).await?;
        tx.commit().await
    }

    /// What was learned about the platform at the account's current address.
    pub async fn learned(&self, account: AccountId) -> Result<Learned, StoreError> {
        let mut tx = self.reading("read the account", "accounts").await?;
        let sql = "select cast(session_list as bigint), token_scheme from accounts where id = $1";
        let row: Option<(Option<i64>, Option<String>)> = tx.row(sql, args![account.0]).await?;
        tx.end().await;
        let (version, scheme) = row.unwrap_or_default();
        Ok(Learned {
            session_list: version.and_then(SessionVersion::of_number),
            bare_token: scheme.as_deref() == Some(BARE),
        })
    }

    /// Stores what was learned about the platform.
    pub async fn set_learned(&self, lease: &Lease, learned: &Learned) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(
                lease,
                "store what was learned about the platform",
                "accounts",
            )
            .await?;
        remember(&mut tx, lease, learned).await?;
        tx.commit().await
    }

    /// Since when and why the platform does not answer the account's requests. `None` if it
    /// answers, as far as is known.
    pub async fn trouble(
        &self,
        account: AccountId,
    ) -> Result<Option<(Timestamp, String)>, StoreError> {
        let mut tx = self.reading("read the account", "accounts").await?;
        let sql = "select trouble_since, trouble from accounts where id = $1 \
                   and trouble is not null and trouble_since is not null";
        let row: Option<(Time, String)> = tx.row(sql, args![account.0]).await?;
        tx.end().await;
        Ok(row.map(|(Time(since), trouble)| (since, trouble)))
    }

    /// Stores since when and why the platform does not answer, or that it answers.
    pub async fn set_trouble(
        &self,
        lease: &Lease,
        trouble: Option<&(Timestamp, String)>,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .writing_under(lease, "store the platform's outage", "accounts")
            .await?;
        let since = trouble.map(|(since, _)| *since);
        let trouble = trouble.map(|(_, trouble)| trouble.as_str());
        tx.execute(
            "update accounts set trouble = $2, trouble_since = $3 where id = $1",
            args![lease.account().0, trouble, since],
        )
        .await?;
        tx.commit().await
    }

    /// The account of this name, if there is one.
    pub async fn find_account(&self, name: &str) -> Result<Option<StoredAccount>, StoreError> {
        Ok(self
            .accounts()
            .await?
            .into_iter()
            .find(|account| account.name == name))
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<StoredAccount>, StoreError> {
        let mut tx = self.reading("read the accounts", "accounts").await?;
        let rows: Vec<(i64, String, Option<Id>, String)> = tx
            .rows(
                "select id, name, company_id, base_url from accounts order by name",
                Vec::new(),
            )
            .await?;
        tx.end().await;
        Ok(rows
            .into_iter()
            .map(|(id, name, company, base_url)| StoredAccount {
                id: AccountId(id),
                name,
                company: company.map(|Id(company)| company),
                base_url,
            })
            .collect())
    }

    /// Refuses a token's company as [`Store::set_company`] would, but writes nothing. The account
    /// need not exist yet.
    pub async fn check_company(&self, name: &str, company: Uuid) -> Result<(), StoreError> {
        let accounts = self.accounts().await?;
        if let Some(holder) = accounts.iter().find(|a| a.company == Some(company)) {
            return if holder.name == name {
                Ok(())
            } else {
                Err(StoreError::SameCompany {
                    other: holder.name.clone(),
                })
            };
        }
        let own = accounts.iter().find(|account| account.name == name);
        match own.and_then(|account| account.company) {
            None => Ok(()),
            Some(stored) => Err(StoreError::OtherCompany {
                account: name.to_owned(),
                stored,
                found: company,
            }),
        }
    }

    /// Stores the company of an account's token. Refused if another account already is that
    /// company, or if this account has the data of another company.
    pub async fn set_company(&self, account: AccountId, company: Uuid) -> Result<(), StoreError> {
        let mut tx = self
            .writing("store the account's company", "accounts")
            .await?;
        let holder: Option<(i64, String)> = tx
            .row(
                "select id, name from accounts where company_id = $1",
                args![company],
            )
            .await?;
        match holder {
            Some((id, _)) if id == account.0 => return Ok(()),
            Some((_, other)) => return Err(StoreError::SameCompany { other }),
            None => {}
        }
        let own: Option<(String, Option<Id>)> = tx
            .row(
                "select name, company_id from accounts where id = $1",
                args![account.0],
            )
            .await?;
        match own {
            Some((_, None)) => {}
            Some((account, Some(Id(stored)))) => {
                return Err(StoreError::OtherCompany {
                    account,
                    stored,
                    found: company,
                });
            }
            None => return Err(tx.inconsistent("id", "does not have this account")),
        }
        tx.execute(
            "update accounts set company_id = $2 where id = $1",
            args![account.0, company],
        )
        .await?;
        tx.commit().await
    }
}
