//! The names and texts from which an account is generated.

pub(super) const FIRST_NAMES: [&str; 40] = [
    "Ana",
    "Maria",
    "João",
    "José",
    "Antônio",
    "Francisca",
    "Carlos",
    "Paulo",
    "Pedro",
    "Lucas",
    "Luiz",
    "Marcos",
    "Gabriel",
    "Rafael",
    "Daniel",
    "Marcelo",
    "Bruno",
    "Eduardo",
    "Felipe",
    "Rodrigo",
    "Juliana",
    "Márcia",
    "Fernanda",
    "Patrícia",
    "Aline",
    "Sandra",
    "Camila",
    "Amanda",
    "Letícia",
    "Beatriz",
    "Larissa",
    "Vitória",
    "Conceição",
    "Luíza",
    "Simone",
    "Thaís",
    "Renata",
    "Vinícius",
    "Sebastião",
    "Thiago",
];

pub(super) const LAST_NAMES: [&str; 32] = [
    "Silva",
    "Santos",
    "Oliveira",
    "Souza",
    "Rodrigues",
    "Ferreira",
    "Alves",
    "Pereira",
    "Lima",
    "Gomes",
    "Ribeiro",
    "Carvalho",
    "Almeida",
    "Lopes",
    "Soares",
    "Fernandes",
    "Vieira",
    "Barbosa",
    "Rocha",
    "Dias",
    "Nascimento",
    "Andrade",
    "Moreira",
    "Nunes",
    "Marques",
    "Machado",
    "Mendes",
    "Freitas",
    "Cardoso",
    "Ramos",
    "Gonçalves",
    "D'Ávila",
];

/// Area codes, the large cities more often.
pub(super) const AREA_CODES: [&str; 16] = [
    "11", "11", "11", "11", "21", "21", "31", "41", "51", "61", "71", "81", "85", "19", "48", "62",
];

pub(super) const CITIES: [&str; 12] = [
    "São Paulo",
    "Rio de Janeiro",
    "Belo Horizonte",
    "Curitiba",
    "Porto Alegre",
    "Brasília",
    "Salvador",
    "Recife",
    "Fortaleza",
    "Campinas",
    "Florianópolis",
    "Goiânia",
];

pub(super) const INTERESTS: [&str; 6] = [
    "Assinatura",
    "Peças",
    "Revenda",
    "Instalação",
    "Garantia",
    "Atacado",
];

pub(super) const DEPARTMENTS: [(&str, Option<&str>); 6] = [
    ("Vendas", Some("Novos negócios e orçamentos")),
    ("Suporte", Some("Fila geral")),
    ("Financeiro", Some("Boletos, notas e reembolsos")),
    ("Pós-venda", None),
    ("Retenção", Some("Cancelamentos")),
    ("Logística", None),
];

pub(super) const TAGS: [(&str, Option<&str>); 20] = [
    ("Cliente VIP", Some("YELLOW_500")),
    ("Orçamento", Some("BLUE_300")),
    ("Retorno", Some("GRAY_600")),
    ("Devolução", None),
    ("Lead quente", Some("RED_500")),
    ("Lead frio", Some("SKY_200")),
    ("Inadimplente", Some("RED_600")),
    ("Recompra", Some("GREEN_400")),
    ("Reclamação", Some("PINK_500")),
    ("Black Friday", Some("GRAY_600")),
    ("Indicação", Some("GREEN_200")),
    ("Aguardando pagamento", Some("YELLOW_300")),
    ("Pago", Some("GREEN_600")),
    ("Troca", Some("PURPLE_300")),
    ("Atacado", Some("BROWN_400")),
    ("Varejo", Some("BROWN_200")),
    ("Fidelidade", Some("PURPLE_500")),
    ("Não perturbe", Some("GRAY_300")),
    ("Instalação agendada", Some("SKY_500")),
    ("Garantia", Some("BLUE_600")),
];

/// Where those write whose phone number is not known.
pub(super) const INSTAGRAM: u16 = 3;

/// What a channel is: its list spelling, its session spelling, display name, number, share of
/// the sessions out of 100.
pub(super) const CHANNELS: [(&str, &str, &str, Option<&str>, u32); 7] = [
    (
        "CloudAPI_WhatsApp",
        "CLOUDAPI_WHATSAPP",
        "Loja Ipê Atendimento",
        Some("5511900000100"),
        42,
    ),
    (
        "CloudAPI_WhatsApp",
        "CLOUDAPI_WHATSAPP",
        "Loja Ipê Vendas",
        Some("5511900000101"),
        24,
    ),
    (
        "ZAPI_WhatsApp",
        "ZAPI_WHATSAPP",
        "Plantão",
        Some("5521900000102"),
        10,
    ),
    ("Instagram", "INSTAGRAM", "loja.ipe", None, 14),
    ("Messenger", "MESSENGER", "Loja Ipê", None, 4),
    ("WebChat", "WEBCHAT", "Site", None, 4),
    (
        "EvolutionApi_WhatsApp",
        "EVOLUTIONAPI_WHATSAPP",
        "Filial Santos",
        Some("5513900000103"),
        2,
    ),
];

/// A campaign that visitors come from.
pub(super) struct Campaign {
    pub(super) source: &'static str,
    pub(super) medium: &'static str,
    pub(super) name: &'static str,
    pub(super) headline: Option<&'static str>,
    /// First and last month in which it runs.
    pub(super) months: (i64, i64),
    /// How many it brings, next to the others.
    pub(super) share: u32,
    /// How often those whom it brings buy, in percent of the usual odds.
    pub(super) converts: u32,
}

const fn campaign(
    source: &'static str,
    medium: &'static str,
    name: &'static str,
    headline: Option<&'static str>,
    months: (i64, i64),
    (share, converts): (u32, u32),
) -> Campaign {
    Campaign {
        source,
        medium,
        name,
        headline,
        months,
        share,
        converts,
    }
}

pub(super) const CAMPAIGNS: [Campaign; 8] = [
    campaign(
        "facebook",
        "paid",
        "inverno",
        Some("Liquidação de inverno"),
        (6, 8),
        (14, 80),
    ),
    campaign(
        "instagram",
        "paid",
        "black-friday",
        Some("Só hoje: até 60% de desconto"),
        (11, 11),
        (30, 120),
    ),
    campaign("google", "cpc", "marca", None, (1, 12), (20, 170)),
    campaign("google", "cpc", "peças-reposição", None, (1, 12), (11, 110)),
    campaign(
        "instagram",
        "stories",
        "dia-das-mães",
        Some("Presente para ela"),
        (4, 5),
        (16, 140),
    ),
    campaign(
        "newsletter",
        "email",
        "recompra-90d",
        None,
        (1, 12),
        (7, 300),
    ),
    campaign("facebook", "paid", "volta-às-aulas", None, (1, 2), (12, 60)),
    campaign(
        "tiktok",
        "influencer",
        "ju-indica",
        Some("Cupom JU10"),
        (1, 12),
        (9, 18),
    ),
];

/// From the contact.
pub(super) const QUESTIONS: [&str; 16] = [
    "Oi, ainda tem em estoque?",
    "Bom dia! Quanto fica o frete para Campinas?",
    "Meu pedido ainda não chegou",
    "Quero trocar o tamanho",
    "Vocês parcelam?",
    "Segue o comprovante",
    "[imagem]",
    "[áudio]",
    "Ok, obrigada!",
    "Pode ser amanhã à tarde",
    "Não consegui pagar o boleto",
    "Qual o prazo?",
    "👍",
    "Preciso da nota fiscal",
    "Tem na cor azul?",
    "Boa tarde, vi o anúncio e fiquei interessado",
];

/// From the account.
pub(super) const ANSWERS: [&str; 14] = [
    "Pode confirmar o endereço?",
    "Já vou verificar para você!",
    "Seu pedido foi enviado hoje 🚚",
    "O prazo é de 3 a 5 dias úteis.",
    "Parcelamos em até 6x sem juros.",
    "Posso ajudar em algo mais?",
    "Enviei o link de pagamento.",
    "Temos sim! Qual o tamanho?",
    "Vou transferir para o financeiro.",
    "Agradecemos o contato!",
    "Sua nota fiscal segue em anexo.\nQualquer dúvida, estou à disposição.",
    "Estamos fora do horário de atendimento.",
    "Qual o seu \"CEP\"?",
    "Combinado, obrigado!",
];

/// What an agent says of a session, of each category; what retention says comes last.
pub(super) const WON: [&str; 3] = ["Venda concluída", "Upsell", "Renovação"];
pub(super) const LOST: [&str; 4] = [
    "Sem estoque",
    "Preço",
    "Sem resposta",
    "Comprou no concorrente",
];
pub(super) const INFO: [&str; 3] = ["Dúvida respondida", "Segunda via", "Rastreamento"];
pub(super) const OTHER: [&str; 2] = ["Engano", "Spam"];
