//! The records of a service: which there are, what they say on a link, and which of them a question asks for.

use super::SERVICE_TYPE;
use super::limits::{HOST_TTL_S, OTHER_TTL_S};
use super::link::Link;
use super::service::Service;
use simple_dns::rdata::{A, AAAA, NSEC, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Label, Name, QCLASS, QTYPE, Question, ResourceRecord, TYPE};
use std::collections::BTreeSet;

/// A set of records of one name and type, told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// That there are services of this kind (RFC 6763 section 9). Everybody who has one says so.
    Kinds,
    /// That there is this service among those of its kind.
    Browse,
    /// Where it is.
    Srv,
    /// What it says of itself.
    Txt,
    /// The addresses of its host.
    V4,
    /// Likewise.
    V6,
    /// That the instance has nothing else (RFC 6762 section 6.1).
    NoneOfInstance,
    /// That the host has nothing else.
    NoneOfHost,
}

impl Set {
    /// What is announced.
    pub(super) const ANNOUNCED: [Self; 6] =
        [Self::Kinds, Self::Browse, Self::Srv, Self::Txt, Self::V4, Self::V6];
    /// What is taken back at the end. Others may have services of this kind still.
    pub(super) const TAKEN_BACK: [Self; 5] = [Self::Browse, Self::Srv, Self::Txt, Self::V4, Self::V6];

    /// Whether others may answer with the same name.
    pub(super) fn is_shared(self) -> bool {
        match self {
            Self::Kinds | Self::Browse => true,
            Self::Srv | Self::Txt | Self::V4 | Self::V6 | Self::NoneOfInstance | Self::NoneOfHost => false,
        }
    }

    /// How long it is good for, in seconds.
    pub(super) fn ttl_s(self) -> u32 {
        match self {
            Self::Kinds | Self::Browse | Self::Txt => OTHER_TTL_S,
            Self::Srv | Self::V4 | Self::V6 | Self::NoneOfInstance | Self::NoneOfHost => HOST_TTL_S,
        }
    }

    /// What who asks for it will ask for next (RFC 6763 section 12).
    fn follow_up(self) -> &'static [Self] {
        match self {
            Self::Browse => &[Self::Srv, Self::Txt, Self::V4, Self::V6],
            Self::Srv => &[Self::V4, Self::V6],
            Self::V4 => &[Self::V6],
            Self::V6 => &[Self::V4],
            Self::Kinds | Self::Txt | Self::NoneOfInstance | Self::NoneOfHost => &[],
        }
    }
}

/// What may be asked for next, too.
pub(super) fn follow_ups(sets: &BTreeSet<Set>) -> BTreeSet<Set> {
    let next = sets.iter().flat_map(|set| set.follow_up()).copied();
    next.filter(|set| !sets.contains(set)).collect()
}

/// The two names that nobody else may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Of the service.
    Instance,
    /// Of its host.
    Host,
}

/// The names in force, and what is said under them.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) instance_label: String,
    pub(super) host_label: String,
    kinds: Name<'static>,
    kind: Name<'static>,
    instance: Name<'static>,
    host: Name<'static>,
    port: u16,
    txt: TXT<'static>,
}

impl Zone {
    /// `seconds` are the names that go by their second form.
    pub(super) fn new(service: &Service, seconds: &BTreeSet<Claim>) -> Self {
        let instance_label = service.instance(seconds.contains(&Claim::Instance));
        let host_label = service.host(seconds.contains(&Claim::Host));
        let [kind, transport, domain] = SERVICE_TYPE;
        let mut txt = TXT::new();
        for (name, value) in service.texts(&host_label) {
            let added = txt.add_attribute(name, Some(value.as_bytes()));
            debug_assert!(added.is_ok(), "texts are no longer than they may be");
        }
        Self {
            kinds: name(&["_services", "_dns-sd", "_udp", domain]),
            kind: name(&[kind, transport, domain]),
            instance: name(&[&instance_label, kind, transport, domain]),
            host: name(&[&host_label, domain]),
            port: service.port,
            txt,
            instance_label,
            host_label,
        }
    }

    /// The name that a claim is to.
    pub(super) fn name(&self, claim: Claim) -> &Name<'static> {
        match claim {
            Claim::Instance => &self.instance,
            Claim::Host => &self.host,
        }
    }

    /// The records that nobody else may have under that name.
    pub(super) fn claimed(claim: Claim) -> [Set; 2] {
        match claim {
            Claim::Instance => [Set::Srv, Set::Txt],
            Claim::Host => [Set::V4, Set::V6],
        }
    }

    /// What a set says on a link. Empty when there is nothing to say.
    pub(super) fn records(&self, set: Set, link: &Link) -> Vec<ResourceRecord<'static>> {
        let (owner, data): (&Name<'static>, Vec<RData<'static>>) = match set {
            Set::Kinds => (&self.kinds, vec![RData::PTR(PTR(self.kind.clone()))]),
            Set::Browse => (&self.kind, vec![RData::PTR(PTR(self.instance.clone()))]),
            Set::Srv => {
                let target = self.host.clone();
                (&self.instance, vec![RData::SRV(SRV { priority: 0, weight: 0, port: self.port, target })])
            }
            Set::Txt => (&self.instance, vec![RData::TXT(self.txt.clone())]),
            Set::V4 => (&self.host, link.ipv4().map(|address| RData::A(A::from(address))).collect()),
            Set::V6 => (&self.host, link.ipv6().map(|address| RData::AAAA(AAAA::from(address))).collect()),
            Set::NoneOfInstance => {
                let nothing = NSEC::from_types(self.instance.clone(), &[TYPE::TXT, TYPE::SRV]);
                (&self.instance, vec![RData::NSEC(nothing)])
            }
            Set::NoneOfHost => {
                let mut types = Vec::new();
                types.extend(link.ipv4().next().map(|_| TYPE::A));
                types.extend(link.ipv6().next().map(|_| TYPE::AAAA));
                (&self.host, vec![RData::NSEC(NSEC::from_types(self.host.clone(), &types))])
            }
        };
        let record = |data| {
            ResourceRecord::new(owner.clone(), CLASS::IN, set.ttl_s(), data)
                .with_cache_flush(!set.is_shared())
        };
        data.into_iter().map(record).collect()
    }

    /// The records of several sets.
    pub(super) fn all<'a>(
        &self,
        sets: impl IntoIterator<Item = &'a Set>,
        link: &Link,
    ) -> Vec<ResourceRecord<'static>> {
        sets.into_iter().flat_map(|set| self.records(*set, link)).collect()
    }

    /// What a question asks for.
    pub(super) fn wanted(&self, question: &Question<'_>, link: &Link) -> BTreeSet<Set> {
        let nothing = BTreeSet::new();
        if !matches!(question.qclass, QCLASS::ANY | QCLASS::CLASS(CLASS::IN)) {
            return nothing;
        }
        let asks = |kind: TYPE| question.qtype == QTYPE::ANY || question.qtype == QTYPE::TYPE(kind);
        let (candidates, otherwise): (&[(Set, TYPE)], Option<Set>) = if question.qname == self.kinds {
            (&[(Set::Kinds, TYPE::PTR)], None)
        } else if question.qname == self.kind {
            (&[(Set::Browse, TYPE::PTR)], None)
        } else if question.qname == self.instance {
            (&[(Set::Srv, TYPE::SRV), (Set::Txt, TYPE::TXT)], Some(Set::NoneOfInstance))
        } else if question.qname == self.host {
            (&[(Set::V4, TYPE::A), (Set::V6, TYPE::AAAA)], Some(Set::NoneOfHost))
        } else {
            return nothing;
        };
        let found: BTreeSet<Set> = candidates
            .iter()
            .filter(|(set, kind)| asks(*kind) && !self.records(*set, link).is_empty())
            .map(|(set, _)| *set)
            .collect();
        if found.is_empty() { otherwise.into_iter().collect() } else { found }
    }

    /// Whether somebody who says that he knows these records knows all of a set for long enough (RFC 6762 section 7.1).
    pub(super) fn is_known(&self, set: Set, known: &[ResourceRecord<'_>], link: &Link) -> bool {
        self.records(set, link).iter().all(|own| {
            known.iter().any(|known| is_same(own, known) && u64::from(known.ttl) * 2 >= u64::from(own.ttl))
        })
    }

    /// Which set a record of somebody else is part of, word for word.
    pub(super) fn same_as(&self, theirs: &ResourceRecord<'_>, link: &Link) -> Option<Set> {
        let is_part = |set: &Set| self.records(*set, link).iter().any(|own| is_same(own, theirs));
        Set::ANNOUNCED.into_iter().find(is_part)
    }
}

/// The same name, class and content.
fn is_same(own: &ResourceRecord<'_>, theirs: &ResourceRecord<'_>) -> bool {
    own.class == theirs.class && own.name == theirs.name && own.rdata == theirs.rdata
}

/// A name of these labels, which may have dots in them.
pub(super) fn name(labels: &[&str]) -> Name<'static> {
    let labels: Vec<Label<'static>> =
        labels.iter().map(|label| Label::new_unchecked(label.as_bytes().to_vec())).collect();
    Name::new_with_labels(&labels)
}
