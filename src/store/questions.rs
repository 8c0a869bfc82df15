//! Example queries that run unchanged on both databases, and their results.
//!
//! `demo` prints them with their results, so their text is formatted for people.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::open::Store;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The question in words.
    pub asks: &'static str,
    /// The query.
    pub sql: &'static str,
    /// The names of its columns.
    pub columns: &'static [&'static str],
}

/// Three questions that every account can answer.
pub const QUESTIONS: [Question; 3] = [
    Question {
        asks: "Where do the sessions come from, and how many of them are over?",
        sql: "\
select coalesce(c.identity_display_name, c.number_formatted,
                'deleted channel') as channel,
       count(*) as sessions,
       sum(case when s.status = 'COMPLETED' then 1 else 0 end) as completed
from sessions s
left join channels c on c.id = s.channel_id
where s.removed_at is null
group by c.id, c.identity_display_name, c.number_formatted
order by sessions desc, channel
limit 5",
        columns: &["channel", "sessions", "completed"],
    },
    Question {
        asks: "How long did people wait this month, by department?",
        sql: "\
select department,
       wait_n as sessions,
       cast(round(cast(wait_median / 60 as numeric), 1) as text)
         as median_minutes,
       cast(round(cast(wait_p90 / 60.0 as numeric), 1) as text)
         as p90_minutes
from report_departments
where month = (select max(month) from report_days
               where ends_at <= (select max(last_success_at)
                                 from sync_state))
  and department is not null and wait_n > 0
order by wait_median desc, department
limit 5",
        columns: &["department", "sessions", "median_minutes", "p90_minutes"],
    },
    Question {
        asks: "Who wins the most?",
        sql: "\
select a.name as agent,
       count(*) as won,
       cast(round(sum(s.classification_amount)) as bigint) as amount
from sessions s
join agents a on a.user_id = s.user_id and a.account_id = s.account_id
where s.removed_at is null and s.classification_category = 'WON'
group by a.user_id, a.name
order by amount desc
limit 5",
        columns: &["agent", "won", "amount"],
    },
];

impl Store {
    /// The result of a query: its rows, with one value for each column.
    pub async fn answer(&self, question: &Question) -> Result<Vec<Vec<Value>>, StoreError> {
        let mut tx = self.reading("answer a question", "the mirror").await?;
        let sql = format!(
            "select {} from ({}) as answer",
            tx.backend().array(question.columns),
            question.sql
        );
        let rows: Vec<(String,)> = tx.rows(AssertSqlSafe(sql), Vec::new()).await?;
        tx.end().await;
        rows.iter()
            .map(|(row,)| {
                serde_json::from_str(row).map_err(|_| tx.inconsistent("", "is not a JSON array"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_fit_a_narrow_terminal_so_that_no_line_of_them_is_broken() {
        for question in &QUESTIONS {
            for line in question.sql.lines() {
                assert!(line.len() <= 76, "{line}");
            }
        }
    }
}
