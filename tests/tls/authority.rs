//! Certificates of every kind, good and bad, on a time line of their own.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// From and until: year, month, day.
pub(crate) type Day = (i32, u8, u8);

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

/// What a certificate is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Server,
    Client,
}

impl Authority {
    /// One that vouches for itself.
    pub(crate) fn root(name: &str, from: Day, until: Day) -> Self {
        Self(
            CertifiedIssuer::self_signed(authority(name, from, until), KeyPair::generate().unwrap()).unwrap(),
        )
    }

    /// One that another vouches for.
    pub(crate) fn below(&self, name: &str, from: Day, until: Day) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name, from, until), key, &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str], purpose: Purpose, from: Day, until: Day) -> Issued {
        let key = KeyPair::generate().unwrap();
        let pem = leaf(names, purpose, from, until).signed_by(&key, &self.0).unwrap().pem();
        Issued { pem, key }
    }
}

impl Issued {
    /// Signed with its own key; `ca` makes it an authority of its own.
    pub(crate) fn by_itself(names: &[&str], is_ca: bool, from: Day, until: Day) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(names, Purpose::Server, from, until);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Self { pem: params.self_signed(&key).unwrap().pem(), key }
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// With the certificates above it.
    pub(crate) fn with_chain(mut self, above: &[&Authority]) -> Self {
        for authority in above {
            self.pem.push_str(&authority.pem());
        }
        self
    }
}

fn authority(name: &str, from: Day, until: Day) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    span(&mut params, from, until);
    params
}

fn leaf(names: &[&str], purpose: Purpose, from: Day, until: Day) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![match purpose {
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    span(&mut params, from, until);
    params
}

fn span(params: &mut CertificateParams, from: Day, until: Day) {
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
}
