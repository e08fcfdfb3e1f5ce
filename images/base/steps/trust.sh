# Sourced by the build steps. If TLS is intercepted (a company's proxy, a sandbox), the builder passes its certificates as the
# secret "ca_bundle". They are used by this one command and not stored in the image. docker-compose.yaml passes an empty file
# if CA_BUNDLE is not set.
ca_bundle=/run/secrets/ca_bundle
if [ -s "$ca_bundle" ]; then
    export SSL_CERT_FILE="$ca_bundle" CURL_CA_BUNDLE="$ca_bundle" PIP_CERT="$ca_bundle" CARGO_HTTP_CAINFO="$ca_bundle"
fi
