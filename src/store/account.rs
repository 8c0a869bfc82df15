//! Accounts: a name in the configuration, a company on the platform, an id in every row.

use uuid::Uuid;

use super::error::StoreError;
use super::open::Store;
use super::value::{Id, args};
use crate::data::Timestamp;

/// An account's id in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// An account as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name in the configuration.
    pub name: String,
    /// The platform's id of the company, once a record has shown it.
    pub company: Option<Uuid>,
    /// Where it is read from.
    pub base_url: String,
}

impl Store {
    /// The account of this name, created if there is none; its address becomes `base_url`.
    pub async fn account(
        &self,
        name: &str,
        base_url: &str,
        now: Timestamp,
    ) -> Result<AccountId, StoreError> {
        let mut tx = self.writing("register the account", "accounts").await?;
        let id = tx
            .number(
                "insert into accounts (name, base_url, created_at) values ($1, $2, $3) \
                 on conflict (name) do update set base_url = excluded.base_url, \
                 session_version = case when accounts.base_url = excluded.base_url \
                 then accounts.session_version else 1 end returning id",
                args![name, base_url, now],
            )
            .await?;
        tx.commit().await?;
        Ok(AccountId(id))
    }

    /// The version of the session list that the account is read from: 2 once the first was found to
    /// be withdrawn at its present address, else 1.
    pub async fn session_version(&self, account: AccountId) -> Result<u8, StoreError> {
        let mut tx = self.reading("read the account", "accounts").await?;
        let sql = "select count(*) from accounts where id = $1 and session_version = 2";
        let second = tx.number(sql, args![account.0]).await?;
        tx.end().await;
        Ok(if second == 1 { 2 } else { 1 })
    }

    /// Remembers that the first version of the session list is withdrawn.
    pub async fn first_version_is_withdrawn(&self, account: AccountId) -> Result<(), StoreError> {
        let mut tx = self
            .writing("note the platform's version", "accounts")
            .await?;
        let sql = "update accounts set session_version = 2 where id = $1";
        tx.execute(sql, args![account.0]).await?;
        tx.commit().await
    }

    /// The account of this name, if there is one.
    pub async fn find_account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        Ok(self
            .accounts()
            .await?
            .into_iter()
            .find(|account| account.name == name))
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
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
            .map(|(id, name, company, base_url)| Account {
                id: AccountId(id),
                name,
                company: company.map(|Id(company)| company),
                base_url,
            })
            .collect())
    }

    /// Refuses a token's company as [`Store::set_company`] would, and writes nothing. The account
    /// need not be known yet.
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

    /// Notes which company an account's token belongs to. Refused if another account is that
    /// company already, and if this account has held the data of another one.
    pub async fn set_company(&self, account: AccountId, company: Uuid) -> Result<(), StoreError> {
        let mut tx = self
            .writing("note the account's company", "accounts")
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
            None => return Err(tx.inconsistent("id", "lacks this account")),
        }
        tx.execute(
            "update accounts set company_id = $2 where id = $1",
            args![account.0, company],
        )
        .await?;
        tx.commit().await
    }
}
