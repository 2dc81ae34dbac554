//! What server, host and supervisors read of each other, for who tries it with arbitrary bytes.

use super::host::SpawnRequest;

/// A request to start a process. What is read of it is written as it was.
pub fn spawn_request(bytes: &[u8]) {
    if let Some(request) = SpawnRequest::decode(bytes) {
        let written = request.encode();
        assert_eq!(SpawnRequest::decode(&written[4..]), Some(request));
    }
}
