# Answers with the process that served the request.
run ->(env) { [200, { "content-type" => "text/plain" }, ["#{ENV["PS"]} in process #{Process.pid}\n"]] }
