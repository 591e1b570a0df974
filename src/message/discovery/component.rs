//! Makes one entity of a row: a flat object with Home Assistant's short keys.

use super::row::{Row, Value};
use super::{EXPIRE_S, INFINITE_DIGITS};
use crate::message::json::{Object, quoted};

/// Currencies with a code in ISO 4217 that are quotes somewhere: only these may be `monetary` in Home Assistant.
const ISO_4217: [&str; 11] = ["USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "TRY", "BRL", "PLN", "KRW"];
/// Other quotes whose money is shown with two digits.
const STABLE: [&str; 6] = ["USDT", "USDC", "FDUSD", "TUSD", "DAI", "EURC"];

/// What a row is filled in with. Empty texts stand for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'a> {
    /// Topics begin with it.
    pub base: &'a str,
    /// What unique ids begin with.
    pub unique: &'a str,
    /// What entity ids begin with.
    pub entity: &'a str,
    /// Strategy.
    pub id: &'a str,
    /// Feed.
    pub feed: &'a str,
    /// Symbol.
    pub symbol: &'a str,
    /// Base currency.
    pub base_currency: &'a str,
    /// Quote currency; empty when several are added up.
    pub quote: &'a str,
    /// Digits behind the point of a price.
    pub price_digits: u32,
    /// Digits behind the point of a quantity.
    pub quantity_digits: u32,
}

/// A component's key, its platform, and its JSON.
pub(super) struct Component {
    pub key: String,
    pub platform: &'static str,
    pub json: String,
}

/// How a number is shown.
#[derive(Default)]
struct Shown<'a> {
    template: Option<String>,
    unit: &'a str,
    digits: Option<u32>,
}

/// Makes the component of `row` at `place`.
pub(super) fn component(row: &Row, place: &Place<'_>) -> Component {
    let key = place.fill(row.key);
    let shown = place.show(row);
    let monetary = row.state_class == "total" && ISO_4217.contains(&shown.unit);
    let mut json = Object::new()
        .text("p", row.platform)
        .text("name", &place.fill(row.name))
        .text("uniq_id", &format!("{}.{key}", place.unique))
        .text("def_ent_id", &format!("{}.{}", row.platform, slug(&format!("{}_{key}", place.entity))));
    if !row.topic.is_empty() {
        json = json.text("stat_t", &place.topic(row.topic));
    }
    if let Some(template) = &shown.template {
        json = json.text("val_tpl", &place.fill(template));
    }
    let class = if monetary { "monetary" } else { row.class };
    let icon = if row.icon.is_empty() { String::new() } else { format!("mdi:{}", row.icon) };
    let words = [
        ("unit_of_meas", shown.unit),
        ("dev_cla", class),
        ("stat_cla", row.state_class),
        ("ent_cat", row.category),
        ("ic", &icon),
    ];
    for (name, word) in words.into_iter().filter(|(_, word)| !word.is_empty()) {
        json = json.text(name, word);
    }
    if let Some(digits) = shown.digits {
        json = json.integer("sug_dsp_prc", digits);
    }
    if row.expires {
        json = json.integer("exp_aft", EXPIRE_S);
    }
    if !row.command.is_empty() {
        json = json.text("cmd_t", &place.topic(row.command)).flag("ret", false);
    }
    for (name, value) in row.more {
        json = json.raw(name, &place.fill(value));
    }
    Component { key, platform: row.platform, json: json.integer("qos", 1).finish() }
}

impl Place<'_> {
    fn topic(&self, rest: &str) -> String {
        format!("{}/{}", self.base, self.fill(rest))
    }

    /// Fills in the names. None of them can hold a `$`, a quote or a backslash.
    fn fill(&self, text: &str) -> String {
        // A symbol has no lower-case letters and no underscore, so this stays one to one.
        let key = self.symbol.replace('.', "dot");
        let names = [
            ("$base", self.base),
            ("$id", self.id),
            ("$feed", self.feed),
            ("$symbol", self.symbol),
            ("$key", &key),
        ];
        names.into_iter().fold(text.to_string(), |text, (name, value)| text.replace(name, value))
    }

    fn show(&self, row: &Row) -> Shown<'_> {
        let money = if is_cents(self.quote) { 2 } else { INFINITE_DIGITS };
        let plain = |template| Shown { template: Some(template), ..Shown::default() };
        let number = |key, factor, unit, digits| Shown {
            template: Some(formatted(key, "", factor, digits)),
            unit,
            digits: Some(digits),
        };
        match row.value {
            Value::Payload => Shown::default(),
            Value::Word(key) | Value::Count(key) => plain(format!("{{{{ value_json.{key} }}}}")),
            Value::Template(template) => plain(template.into()),
            Value::Money(key) => number(key, "", self.quote, money),
            Value::Price(key) => number(key, "", self.quote, self.price_digits),
            Value::Fresh(key) => Shown {
                template: Some(formatted(key, " or value_json.stale", "", self.price_digits)),
                unit: self.quote,
                digits: Some(self.price_digits),
            },
            Value::Quantity(key) => number(key, "", self.base_currency, self.quantity_digits),
            Value::Ratio(key) => number(key, "", "", 2),
            Value::Share(key) => number(key, "*100", "%", 2),
            Value::Percent(key) => number(key, "", "%", 2),
            Value::Megabytes(key) => number(key, "/1000000", "MB", 1),
        }
    }
}

/// A number as plain digits. Home Assistant reads JSON numbers as floats, and prints small ones with an exponent.
fn formatted(key: &str, or_unknown: &str, factor: &str, digits: u32) -> String {
    let value = format!("value_json.{key}");
    format!("{{{{ None if {value} is none{or_unknown} else '%.{digits}f'|format({value}{factor}) }}}}")
}

/// Whether two digits are enough for money of this currency. Sums over several currencies get all.
fn is_cents(quote: &str) -> bool {
    ISO_4217.contains(&quote) || STABLE.contains(&quote)
}

/// A word for entity ids: lower-case letters, digits and single underscores inside.
pub(super) fn slug(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    if words.is_empty() { "tradebus".into() } else { words.join("_") }
}

/// Lists texts as JSON.
pub(super) fn list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_ids_are_slugs() {
        let check = |text: &str, expected: &str| assert_eq!(slug(text), expected, "{text}");
        check("tradebus_tv1_price_BTC-USDT_blofin", "tradebus_tv1_price_btc_usdt_blofin");
        check("__a--b__", "a_b");
        check("--", "tradebus");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let place = Place { quote: "USDT", price_digits: 8, ..Place::default() };
        let row = Row::number("price", "Price", "price", Value::Fresh("last"), "x");
        let json = component(&row, &place).json;
        let template =
            "{{ None if value_json.last is none or value_json.stale else '%.8f'|format(value_json.last) }}";
        assert!(json.contains(template), "{json}");
        assert!(json.contains(r#""sug_dsp_prc":8"#), "{json}");
    }
}
