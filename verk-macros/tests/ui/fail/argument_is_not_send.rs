#[derive(Clone, Debug)]
struct Plan(*const ());

impl serde::Serialize for Plan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Plan {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self(std::ptr::null()))
    }
}

#[verk::worker]
async fn import(plan: Plan) {
    drop(plan);
}

fn main() {}
