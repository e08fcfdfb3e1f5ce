# Sourced by the build steps. Where TLS is intercepted (a company's proxy, a sandbox), the builder passes its certificates as the
# secret "ca_bundle". They serve this one command and never reach the image. An empty file means "none": that is what
# docker-compose.yaml passes when nobody set CA_BUNDLE.
ca_bundle=/run/secrets/ca_bundle
if [ -s "$ca_bundle" ]; then
    export SSL_CERT_FILE="$ca_bundle" CURL_CA_BUNDLE="$ca_bundle" PIP_CERT="$ca_bundle" CARGO_HTTP_CAINFO="$ca_bundle"
fi
